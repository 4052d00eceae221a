// Multipart forms as clients write them, byte by byte, and forms that the standards allow. `from` says how the bytes are
// known: recorded at a socket, or read in the named source. All send QUESTION about their picture, with three beams.

const CRLF = '\r\n'
export const QUESTION = 'Wie groß?'

export interface Form {
  contentType: string
  body: Buffer
  picture: Buffer
  /** Offset where the form is complete; the epilogue follows. */
  completeAt: number
}

interface Written {
  /** How its bytes are known. */
  from: string
  boundary: string
  /** The text after `multipart/form-data`. Default: the boundary, unquoted. */
  parameters?: string
  /** The lines of each part. `<picture>` stands for the file, `<size>` for its length. */
  parts: readonly (readonly string[])[]
  preamble?: string
  /** The bytes after the last boundary. Default: the end of its line. */
  epilogue?: string
  /** Encoding of all but the file. */
  encoding?: 'utf8' | 'latin1'
}

const field = (name: string, value: string, ...headers: string[]) => [
  `Content-Disposition: form-data; name="${name}"`,
  ...headers,
  '',
  value,
]
const file = (filename: string, ...headers: string[]) => [
  `Content-Disposition: form-data; name="image"; filename="${filename}"`,
  ...headers,
  '',
  '<picture>',
]
const PNG_TYPE = 'Content-Type: image/png'
const BYTES_TYPE = 'Content-Type: application/octet-stream'
const UTF8_TYPE = 'Content-Type: text/plain; charset=utf-8'
const PLAIN = [field('question', QUESTION), field('num_beams', '3')]
const HTML = 'HTML standard, "multipart/form-data encoding algorithm"'
const DOTNET = 'dotnet/runtime, System.Net.Http: MultipartContent.cs, MultipartFormDataContent.cs'

const CLIENTS: Record<string, Written> = {
  'Chrome, Edge and Safari': {
    from: `${HTML}; WebKit, FormDataBuilder.cpp`,
    boundary: '----WebKitFormBoundary7MA4YWxkTrZu0gW',
    parts: [file('日本 %22a%22.png', PNG_TYPE), ...PLAIN],
  },
  Firefox: {
    from: `${HTML}; gecko, HTMLFormSubmission.cpp`,
    boundary: '----geckoformboundary2a1fcb5a5f0cd7c6ae1b6be5f8f6f2d1',
    parts: [file('Größe;1.png', PNG_TYPE), ...PLAIN],
  },
  'Internet Explorer, with the path of the file': {
    from: 'RFC 7578, section 4.2: receivers strip the path',
    boundary: '---------------------------7e02a1c3104be',
    parts: [file('C:\\fakepath\\x.png', 'Content-Type: image/x-png'), ...PLAIN],
  },
  'curl since 7.81': {
    from: 'recorded, 7.88: -F \'image=@"a\\"b;c.png"\' -F question=... -F num_beams=3',
    boundary: '------------------------0f2598c7ea63be76',
    parts: [file('a%22b;c.png', PNG_TYPE), ...PLAIN],
  },
  'curl before, and with --form-escape': {
    from: 'recorded, 7.88: --form-escape -F \'image=@"a\\"b;c.png"\' ...',
    boundary: '------------------------ab670d73368632ec',
    parts: [file('a\\"b;c.png', PNG_TYPE), ...PLAIN],
  },
  'curl with types, headers and encoders': {
    from: "recorded, 7.88: -F 'image=@x.png;headers=\"X-A: b\";encoder=binary' -F 'question=...;type=text/plain;charset=utf-8;encoder=8bit' -F 'num_beams=3;type=application/json'",
    boundary: '------------------------2d20686561f25cb4',
    parts: [
      file('x.png', PNG_TYPE, 'Content-Transfer-Encoding: binary', 'X-A: b'),
      field(
        'question',
        QUESTION,
        'Content-Type: text/plain;charset=utf-8',
        'Content-Transfer-Encoding: 8bit',
      ),
      field('num_beams', '3', 'Content-Type: application/json'),
    ],
  },
  'Python requests': {
    from: "recorded, 2.34: files={'image': open('ä.png', 'rb')}, data={...}",
    boundary: '3682c28d838e6635fe1494911bca9041',
    parts: [...PLAIN, file('ä.png')],
  },
  'Python requests with bytes alone': {
    from: "recorded, 2.34: files={'image': (None, picture)}, data={...}",
    boundary: 'e515598f046bb65c2a97c4df8c661071',
    parts: [...PLAIN, field('image', '<picture>')],
  },
  'Python httpx': {
    from: "recorded, 0.28: files={'image': open('a\"b;c.png', 'rb')}, data={...}",
    boundary: '75bba3af29bbe5a40181ab6c03c0185f',
    parts: [...PLAIN, file('a%22b;c.png', PNG_TYPE)],
  },
  'Python aiohttp': {
    from: 'recorded, 3.14: FormData(quote_fields=False), add_field',
    boundary: '2db7acb6d2bd4508bb47a6529d0c2054',
    parts: [[PNG_TYPE, ...file('a\\"b;c.png')], ...PLAIN.map((part) => [UTF8_TYPE, ...part])],
  },
  Go: {
    from: 'recorded, 1.26: mime/multipart Writer, SetBoundary, CreateFormFile, WriteField',
    boundary: "it's (a) test:1?",
    parameters: '; boundary="it\'s (a) test:1?"',
    parts: [file('a\\"b;\\\\c.png', BYTES_TYPE), ...PLAIN],
  },
  'Apache HttpClient 4, whose text is Latin-1': {
    from: 'recorded, 4.5.14: MultipartEntityBuilder, addBinaryBody(name, bytes), addTextBody',
    boundary: 'DUjc2VlGXErIyQp9U4nMoTZRrA90TO7UTK',
    encoding: 'latin1',
    parts: [
      field('image', '<picture>', BYTES_TYPE, 'Content-Transfer-Encoding: binary'),
      ...['question', 'num_beams'].map((name) =>
        field(
          name,
          name === 'question' ? QUESTION : '3',
          'Content-Type: text/plain; charset=ISO-8859-1',
          'Content-Transfer-Encoding: 8bit',
        ),
      ),
    ],
  },
  'Apache HttpClient 5, with preamble and epilogue': {
    from: 'recorded, 5.5: MultipartEntityBuilder, addPreamble, addEpilogue',
    boundary: 'httpclient_boundary_6892fb8b-699a-47cf-9612-bdff13651380',
    parameters: '; charset=ISO-8859-1; boundary=httpclient_boundary_6892fb8b-699a-47cf-9612-bdff13651380',
    preamble: 'a preamble',
    parts: [
      file('%C3%A4.png', BYTES_TYPE),
      field('question', QUESTION, 'Content-Type: text/plain; charset=UTF-8'),
      field('num_beams', '3', 'Content-Type: text/plain; charset=UTF-8'),
    ],
    epilogue: `${CRLF}an epilogue${CRLF}`,
  },
  OkHttp: {
    from: 'recorded, 4.12: MultipartBody.Builder, addFormDataPart',
    boundary: '2e59ff6f-2efd-4833-80c0-f834f295c4af',
    parts: [
      field('question', QUESTION, 'Content-Length: 10'),
      field('num_beams', '3', 'Content-Length: 1'),
      file('a%22b;c.png', PNG_TYPE, 'Content-Length: <size>'),
    ],
  },
  'Spring RestTemplate': {
    from: 'spring-web, FormHttpMessageConverter.java',
    boundary: 'jHl3b-8iCwOhWnTqFj7yAvU2',
    parameters: ';charset=UTF-8;boundary=jHl3b-8iCwOhWnTqFj7yAvU2',
    parts: [
      field('question', QUESTION, 'Content-Type: text/plain;charset=UTF-8', 'Content-Length: 10'),
      field('num_beams', '3', 'Content-Type: application/json'),
      file('x.png', PNG_TYPE, 'Content-Length: <size>'),
    ],
  },
  '.NET, whose names have no quotes': {
    from: DOTNET,
    boundary: 'f0b1c9d4-5a3e-4a5c-9a7b-0d6f1c8e2b47',
    parameters: '; boundary="f0b1c9d4-5a3e-4a5c-9a7b-0d6f1c8e2b47"',
    parts: [
      ["Content-Disposition: form-data; name=image; filename=x.png; filename*=utf-8''x.png", '', '<picture>'],
      [UTF8_TYPE, 'Content-Disposition: form-data; name=question', '', QUESTION],
      [UTF8_TYPE, 'Content-Disposition: form-data; name=num_beams', '', '3'],
    ],
  },
  '.NET with a file name that is not ASCII': {
    from: DOTNET,
    boundary: 'f0b1c9d4-5a3e-4a5c-9a7b-0d6f1c8e2b47',
    parameters: '; boundary="f0b1c9d4-5a3e-4a5c-9a7b-0d6f1c8e2b47"',
    parts: [
      [
        PNG_TYPE,
        'Content-Disposition: form-data; name=image; filename="=?utf-8?B?w6QgYi5wbmc=?="; filename*=utf-8\'\'%C3%A4%20b.png',
        '',
        '<picture>',
      ],
      [UTF8_TYPE, 'Content-Disposition: form-data; name=question', '', QUESTION],
      [
        'Content-Type: application/json; charset=utf-8',
        'Content-Disposition: form-data; name=num_beams',
        '',
        '3',
      ],
    ],
  },
  '.NET with bytes alone': {
    from: `${DOTNET}; Add(new ByteArrayContent(picture), "image")`,
    boundary: 'f0b1c9d4-5a3e-4a5c-9a7b-0d6f1c8e2b47',
    parameters: '; boundary="f0b1c9d4-5a3e-4a5c-9a7b-0d6f1c8e2b47"',
    parts: [
      ['Content-Disposition: form-data; name=image', '', '<picture>'],
      [UTF8_TYPE, 'Content-Disposition: form-data; name=question', '', QUESTION],
      [UTF8_TYPE, 'Content-Disposition: form-data; name=num_beams', '', '3'],
    ],
  },
  'PHP Guzzle': {
    from: 'guzzle/psr7, MultipartStream.php; before version 3 with the lengths',
    boundary: 'd3a6a1c2e4b5968778695a4b3c2d1e0f12345678',
    parts: [
      field('question', QUESTION, 'Content-Length: 10'),
      field('num_beams', '3', 'Content-Length: 1'),
      file('x.png', 'Content-Length: <size>', PNG_TYPE),
    ],
  },
  'Dart and Flutter, whose headers are in small letters': {
    from: 'dart-lang/http, multipart_request.dart, at 31bcb36: the file name is where the type is',
    boundary: 'dart-http-boundary-6pP5.0Bq+_bPbRkPLq-bN3iVnXcMZlAsKdJfHgQwErT2uY9zCxV',
    parts: [
      [
        'content-disposition: form-data; name="question"',
        'content-type: text/plain; charset=utf-8',
        'content-transfer-encoding: binary',
        '',
        QUESTION,
      ],
      ['content-disposition: form-data; name="num_beams"', '', '3'],
      [
        'content-disposition: form-data; name="image"',
        'content-type: application/octet-stream; filename="x.png"',
        '',
        '<picture>',
      ],
    ],
  },
  'Node fetch': {
    from: 'recorded, 20.20',
    boundary: '----formdata-undici-043518624596',
    parts: [file('a%22b;c.png', PNG_TYPE), ...PLAIN],
  },
  'Node form-data, as axios and superagent send it, with bytes alone': {
    from: "recorded, 4.0: append('image', buffer)",
    boundary: '--------------------------903ec6a1a7f8c15cb58b7e93',
    parts: [field('image', '<picture>', BYTES_TYPE), ...PLAIN],
  },
  'Node needle, whose last line has no end': {
    from: 'recorded, 3.3: multipart: true',
    boundary: '--------------------NODENEEDLEHTTPCLIENT',
    parts: [...PLAIN, file('x.png', 'Content-Transfer-Encoding: binary', PNG_TYPE)],
    epilogue: '',
  },
}

const LONGEST = "0123456789'()+_,-./:=? abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU"

const RULES: Record<string, Written> = {
  'a boundary of 70 characters of every kind': {
    from: 'RFC 2046, section 5.1.1',
    boundary: LONGEST,
    parameters: `; boundary="${LONGEST}"`,
    parts: [file('x.png', PNG_TYPE), ...PLAIN],
  },
  'a boundary of one character': {
    from: 'RFC 2046, section 5.1.1',
    boundary: '-',
    parts: [file('x.png', PNG_TYPE), ...PLAIN],
  },
  'parameters in any case and order, and one that ends like the boundary': {
    from: 'RFC 9110, sections 5.6.6 and 8.3.1',
    boundary: 'abc',
    parameters: ';xboundary=other ; Charset="utf-8" ;\tBOUNDARY="abc"',
    parts: [file('x.png', PNG_TYPE), ...PLAIN],
  },
  'a preamble that is an empty line': {
    from: 'RFC 2046, section 5.1.1',
    boundary: 'abc',
    preamble: '',
    parts: [file('x.png', PNG_TYPE), ...PLAIN],
  },
  'an epilogue that looks like a part': {
    from: 'RFC 2046, section 5.1.1',
    boundary: 'abc',
    parts: [file('x.png', PNG_TYPE), ...PLAIN],
    epilogue: `${CRLF}--abc${CRLF}${field('question', 'another').join(CRLF)}${CRLF}--abc--${CRLF}`,
  },
  'headers in capital letters, on several lines, and of no meaning': {
    from: 'RFC 5322, sections 2.2.3 and 3.6.8; RFC 2046, section 5.1',
    boundary: 'abc',
    parts: [
      [
        'X-GARBAGE: =?!;name="question"',
        'CONTENT-DISPOSITION: FORM-DATA;',
        '\tNAME="image";',
        '  FILENAME="x.png"',
        'CONTENT-TYPE:image/png',
        '',
        '<picture>',
      ],
      ...PLAIN,
    ],
  },
  'parameters of a part in any order, with no space between them': {
    from: 'RFC 2183, section 2',
    boundary: 'abc',
    parts: [
      [
        'Content-Disposition:form-data;size=7;filename="a\\"; name=\\"question";name="image"',
        '',
        '<picture>',
      ],
      ...PLAIN,
    ],
  },
}

/** A file with bytes that confuse parsers: ends of lines, dashes, and almost the delimiter. */
function pictureFor(boundary: string): Buffer {
  const traps = [`--${boundary}`, `${CRLF}--${boundary.slice(0, -1)}`, `\n--${boundary}`, `\r--${boundary}--`]
  return Buffer.from(`\x89PNG${CRLF}\x1a\n\0\xff${traps.join('\xff')}${CRLF}${CRLF}-`, 'latin1')
}

function written({ boundary, parameters, parts, preamble, epilogue = CRLF, encoding }: Written): Form {
  const picture = pictureFor(boundary)
  const lines = parts.flatMap((part) => [`--${boundary}`, ...part])
  const text =
    [...(preamble === undefined ? [] : [preamble]), ...lines, `--${boundary}--`].join(CRLF) + epilogue
  const [before = '', after = ''] = text.replace('<size>', String(picture.length)).split('<picture>')
  const body = Buffer.concat([Buffer.from(before, encoding), picture, Buffer.from(after, encoding)])
  const contentType = `multipart/form-data${parameters ?? `; boundary=${boundary}`}`
  return { contentType, body, picture, completeAt: body.length - Buffer.byteLength(epilogue) }
}

export const FORMS: [string, Form][] = Object.entries({ ...CLIENTS, ...RULES }).map(([name, form]) => [
  name,
  written(form),
])
