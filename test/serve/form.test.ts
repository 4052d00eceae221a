// Forms as clients write them (forms.ts), whole and in pieces, and invalid forms.

import { handle, type LambdaEvent } from 'hono/aws-lambda'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import { beforeAll, describe, expect, test } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import { readForm } from '../../src/serve/form.ts'
import type { Problem } from '../../src/serve/problem.ts'
import { createApp } from '../../src/serve/routes.ts'
import { apiEvent } from '../aws/lambda.ts'
import { doubleEngine, PNG } from './double.ts'
import { FORMS, type Form, QUESTION } from './forms.ts'

beforeAll(() => configureLog('json', { write: () => {} }))

const TYPE = 'multipart/form-data; boundary=abc'
const END = '--abc--\r\n'

function serve() {
  const engine = doubleEngine()
  const app = createApp(engine)
  const ask = (contentType: string, body: BodyInit) => {
    const headers = { 'content-type': contentType }
    const init = { method: 'POST', headers, body, duplex: 'half' }
    return app.fetch(new Request('http://localhost/v1/answer', init as RequestInit)) as Promise<Response>
  }
  return { engine, app, ask }
}

/** A stream of the body in pieces, whose sizes the function gives. */
function pieces(body: Buffer, size: () => number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= body.length) return controller.close()
      const next = at + size()
      controller.enqueue(new Uint8Array(body.subarray(at, next)))
      at = next
    },
  })
}

async function refusal(response: Response) {
  const { error } = (await response.json()) as Problem
  return { status: response.status, code: error.code, message: error.message }
}

/** One part: its headers and its value. */
const part = (headers: string, value: string) => `--abc\r\n${headers}\r\n\r\n${value}\r\n`
const field = (name: string, value: string) => part(`Content-Disposition: form-data; name="${name}"`, value)
const picture = Buffer.concat([
  Buffer.from('--abc\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'),
  PNG,
  Buffer.from('\r\n'),
])
const withPicture = (rest: string) => Buffer.concat([picture, Buffer.from(rest, 'latin1')])

describe.each(FORMS)('%s', (_, { contentType, body, picture, completeAt }: Form) => {
  const expected = {
    task: 'answer',
    image: new Uint8Array(picture),
    question: QUESTION,
    settings: { num_beams: 3 },
  }

  test('is read whole', async () => {
    const { engine, ask } = serve()
    const response = await ask(contentType, new Uint8Array(body))
    expect(await response.json()).toMatchObject({ text: `answer 1 to ${QUESTION}` })
    expect(engine.asks).toEqual([{ ...expected, deadlineMs: undefined }])
  })

  test('is read in pieces that end anywhere', async () => {
    const { engine, ask } = serve()
    const random = xoroshiro128plus(7)
    const sizes = [() => 1, ...Array.from({ length: 4 }, () => () => uniformInt(random, 1, 90))]
    for (const size of sizes) expect((await ask(contentType, pieces(body, size))).status).toBe(200)
    for (const asked of engine.asks) expect(asked).toEqual({ ...expected, deadlineMs: undefined })
  })

  test('is read through Lambda', async () => {
    const { engine, app } = serve()
    const headers = { host: 'localhost', 'content-type': contentType }
    const event = apiEvent('POST', '/v1/answer', { body, headers }) as unknown as LambdaEvent
    expect(await handle(app)(event)).toMatchObject({ statusCode: 200 })
    expect(engine.asks).toEqual([{ ...expected, deadlineMs: undefined }])
  })

  test('is refused when it ends early, wherever it does', async () => {
    for (let length = 0; length < completeAt; length += length < completeAt - 20 ? 17 : 1) {
      const cut = readForm(
        pieces(body.subarray(0, length), () => 50),
        contentType,
      )
      await expect(cut, `${length} of ${completeAt}`).rejects.toMatchObject({ code: 'bad_form' })
    }
  })
})

describe('a form', () => {
  const cases: [string, string | Buffer, RegExp, string?][] = [
    [
      'whose lines end with LF',
      `${withPicture(field('question', 'a?') + END)}`.replaceAll('\r\n', '\n'),
      /CRLF/,
    ],
    ['of another boundary', withPicture(END), /multipart form/, 'multipart/form-data; boundary=ab'],
    ['without a boundary', withPicture(END), /boundary/, 'multipart/form-data'],
    ['with a boundary that is too long', withPicture(END), /boundary/, `${TYPE}${'c'.repeat(300)}`],
    ['that is empty', '', /multipart form/],
    ['without parts', END, /multipart form/],
    [
      'with spaces after its boundaries',
      `--abc \r\n${field('question', 'a?').slice(7)}${END}`,
      /multipart form/,
    ],
    ['with a part that has no name', withPicture(part('Content-Disposition: form-data', 'a?') + END), /name/],
    [
      'in base64',
      part('Content-Disposition: form-data; name="image"\r\nContent-Transfer-Encoding: base64', 'AAAA') + END,
      /Content-Transfer-Encoding/,
    ],
    ['of 10,000 parts', withPicture(field('question', 'a?').repeat(10_000) + END), /at most 64 fields/],
    ['of a million boundaries', '--abc\r\n\r\n\r\n'.repeat(1_000_000), /at most 64 fields/],
    ['of a header that never ends', `--abc\r\nX-A: ${'b'.repeat(1_000_000)}`, /multipart form/],
  ]
  test.each(cases)('%s is refused with an explanation', async (_, body, words, type = TYPE) => {
    const { engine, ask } = serve()
    const refused = await refusal(await ask(type, new Uint8Array(Buffer.from(body))))
    expect(refused).toMatchObject({ status: 400, code: 'bad_form' })
    expect(refused.message).toMatch(words)
    expect(refused.message).toMatch('curl: -F image=@picture.jpg')
    expect(engine.asks).toEqual([])
  })

  test.each([
    [
      'a header',
      part(`Content-Disposition: form-data; name="question"\r\nX-A: ${'b'.repeat(300_000)}`, 'a?'),
    ],
    [
      'header lines',
      part(`${'X: y\r\n'.repeat(100_000)}Content-Disposition: form-data; name="question"`, 'a?'),
    ],
    ['a field', field('question', 'a'.repeat(300_000))],
    ['a field that is not known', field('colour', 'a'.repeat(300_000))],
    ['an epilogue', `${END}${'a'.repeat(300_000)}`],
  ])('with %s longer than the text limit is refused', async (_, rest) => {
    const { engine, ask } = serve()
    const refused = await refusal(await ask(TYPE, withPicture(rest + END)))
    expect(refused).toMatchObject({ status: 400, code: 'too_many_words' })
    expect(engine.asks).toEqual([])
  })

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])('knows no field %s', async (name) => {
    const { engine, ask } = serve()
    const refused = await refusal(
      await ask(TYPE, withPicture(field('question', 'a?') + field(name, '{}') + END)),
    )
    expect(refused).toMatchObject({ status: 400, code: 'bad_field' })
    expect(refused.message).toMatch(`"${name}"`)
    expect(engine.asks).toEqual([])
  })

  test.each([
    ['question', 'no_question', withPicture(field('question', '') + END)],
    [
      'image',
      'no_picture',
      part('Content-Disposition: form-data; name="image"; filename=""', '') + field('question', 'a?') + END,
    ],
    ['image', 'no_picture', field('image', 'picture.jpg') + END],
  ])('with a field %s without a value is refused as %s', async (_, code, body) => {
    const { ask } = serve()
    expect(await refusal(await ask(TYPE, new Uint8Array(Buffer.from(body))))).toMatchObject({
      status: 400,
      code,
    })
  })

  test('is refused while it arrives, not read to its end', async () => {
    const { ask } = serve()
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent++
        controller.enqueue(new Uint8Array(Buffer.from(field('question', 'a?').repeat(10))))
      },
    })
    expect(await refusal(await ask(TYPE, endless))).toMatchObject({ status: 400, code: 'bad_form' })
    expect(sent).toBeLessThan(20)
  })

  test('whose client disconnects halfway ends the request', async () => {
    const { engine, ask } = serve()
    let sent = 0
    const broken = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent++ === 0) controller.enqueue(new Uint8Array(picture))
        else controller.error(new Error('The connection broke.'))
      },
    })
    expect(await refusal(await ask(TYPE, broken))).toMatchObject({ status: 499, code: 'cancelled' })
    expect(engine.pending).toBe(0)
  })

  test('may have a part that is no field, which is ignored', async () => {
    const { engine, ask } = serve()
    const rest = part('Content-Disposition: attachment; name="question"', 'another') + part('X-A: b', 'more')
    expect((await ask(TYPE, withPicture(rest + field('question', 'a?') + END))).status).toBe(200)
    expect(engine.asks[0]).toMatchObject({ question: 'a?' })
  })
})
