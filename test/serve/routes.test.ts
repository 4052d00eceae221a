import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { InferenceResult } from '../../src/engine/request.ts'
import { ArtifactError, BusyError, RequestError, SetupError, UpstreamError } from '../../src/errors.ts'
import { LOCALES } from '../../src/i18n/languages.ts'
import { MAX_PICTURE_BYTES } from '../../src/image/format.ts'
import { configureLog } from '../../src/observe/log.ts'
import type { Problem } from '../../src/serve/problem.ts'
import { type AppOptions, createApp } from '../../src/serve/routes.ts'
import { CAPTION, doubleEngine, PNG } from './double.ts'

beforeAll(() => configureLog('json', { write: () => {} }))

const MIB = 1024 * 1024
const base64 = Buffer.from(PNG).toString('base64')

function serve(options: AppOptions = {}) {
  const engine = doubleEngine()
  const report = vi.fn()
  const app = createApp(engine, { report, ...options })
  const send = (path: string, init?: RequestInit) =>
    app.fetch(new Request(`http://localhost:8080${path}`, init))
  const json = (path: string, body: unknown, init: RequestInit = {}) =>
    send(path, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init,
      headers: { 'content-type': 'application/json', ...(init.headers as Record<string, string>) },
    })
  return { engine, report, send, json }
}

function form(fields: Record<string, string | Uint8Array>): FormData {
  const data = new FormData()
  for (const [name, value] of Object.entries(fields)) {
    data.append(name, typeof value === 'string' ? value : new Blob([value as BlobPart]))
  }
  return data
}

async function problem(response: Response): Promise<Problem['error'] & { status: number }> {
  return { status: response.status, ...((await response.json()) as Problem).error }
}

describe('an inference request', () => {
  test('is answered with the whole result, from a form, from JSON and from a bare picture', async () => {
    const { send, json } = serve()
    const replies = [
      await send('/v1/caption', { method: 'POST', body: form({ image: PNG }) }),
      await json('/v1/caption', { image: base64 }),
      await json('/v1/caption', { image: `data:image/png;base64,${base64}` }),
      await json('/v1/caption', { image: base64.replace(/(.{76})/g, '$1\n') }),
      await send('/v1/caption', {
        method: 'POST',
        body: PNG as BodyInit,
        headers: { 'content-type': 'image/png' },
      }),
    ]
    for (const response of replies) {
      expect(response.status).toBe(200)
      const reply = (await response.json()) as InferenceResult
      expect(reply.text).toBe(CAPTION)
      expect(Object.keys(reply)).toEqual(
        expect.arrayContaining(['text', 'token_ids', 'prompt', 'timings_ms', 'model', 'picture']),
      )
    }
  })

  test('names a picture that was sent before by its sha256, from JSON and from a form', async () => {
    const { send, json } = serve()
    const { picture } = (await (await json('/v1/caption', { image: base64 })).json()) as InferenceResult
    const again = await json('/v1/answer', { picture, question: 'What is it?' })
    expect([again.status, ((await again.json()) as InferenceResult).picture]).toEqual([200, picture])
    const inForm = await send('/v1/caption', { method: 'POST', body: form({ picture }) })
    expect(inForm.status).toBe(200)

    const unknown = await problem(await json('/v1/caption', { picture: '0'.repeat(64) }))
    expect([unknown.status, unknown.code]).toEqual([400, 'picture_forgotten'])
    const misspelt = await problem(await json('/v1/caption', { picture: picture.toUpperCase() }))
    expect([misspelt.code, misspelt.message]).toEqual([
      'bad_field',
      expect.stringContaining('picture: must be a sha256'),
    ])
    const both = await problem(await json('/v1/caption', { picture, image: base64 }))
    expect([both.code, both.message]).toEqual(['bad_field', expect.stringContaining('image and picture')])
  })

  test('carries question, history and settings to the engine, from a form and from JSON alike', async () => {
    const { engine, send, json } = serve()
    const history = [{ question: 'What is it?', answer: 'an apple' }]
    await send('/v1/answer', {
      method: 'POST',
      body: form({
        image: PNG,
        question: 'What colour?',
        history: JSON.stringify(history),
        num_beams: '3',
        do_sample: 'false',
        early_stopping: 'never',
      }),
    })
    const settings = { num_beams: 3, do_sample: false, early_stopping: 'never' }
    await json('/v1/answer', { image: base64, question: 'What colour?', history, settings })
    expect(engine.asks[0]).toEqual({
      task: 'answer',
      image: PNG,
      question: 'What colour?',
      history,
      settings,
      deadlineMs: undefined,
    })
    expect(engine.asks[1]).toEqual(engine.asks[0])
  })

  test.each([
    ['after a text that is the name of its key', `{"question":"image","image":"${base64}"}`],
    ['with escaped slashes', `{"image" : "${base64.replaceAll('/', '\\/')}","question":"image"}`],
    ['with another before it', `{"image":"AAAA","question":"image","image":"${base64}"}`],
  ])('in JSON may have its picture %s', async (_, body) => {
    const { engine, json } = serve()
    expect((await json('/v1/answer', body)).status).toBe(200)
    expect(engine.asks[0]).toMatchObject({ image: PNG, question: 'image' })
  })

  test('takes settings for a bare picture from the address', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { engine, send } = serve({ deadlineMs: 1234 })
    const init = { method: 'POST', body: PNG as BodyInit, headers: { 'content-type': 'image/png' } }
    await send('/v1/caption?num_beams=2&prompt=a%20photo%20of', init)
    expect(engine.asks[0]).toMatchObject({
      settings: { num_beams: 2 },
      prompt: 'a photo of',
      deadlineMs: 1234,
    })
  })

  test('for an answer without a question is refused, and the message says so', async () => {
    const { json } = serve()
    for (const question of [undefined, '', '   ']) {
      const refused = await problem(await json('/v1/answer', { image: base64, question }))
      expect(refused).toMatchObject({ status: 400, code: 'no_question', retry: false })
      expect(refused.message).toMatch(/question/)
    }
  })

  test('with a prompt needs no question, and takes none beside it', async () => {
    const { json } = serve()
    expect((await json('/v1/answer', { image: base64, prompt: 'Q: a? A:' })).status).toBe(200)
    const both = await json('/v1/answer', { image: base64, prompt: 'Q: a? A:', question: 'a?' })
    expect(await problem(both)).toMatchObject({ status: 400, code: 'bad_field' })
  })

  test('for a caption with a question is refused with the other route', async () => {
    const { json } = serve()
    const refused = await problem(await json('/v1/caption', { image: base64, question: 'What is it?' }))
    expect(refused.message).toMatch('/v1/answer')
  })
})

describe('a hostile or mistaken body', () => {
  const words = 'a'.repeat(300_000)
  const ends = Array.from({ length: 1000 }, (_, i) => i)
  const cases: [string, unknown, number, string, RegExp][] = [
    [
      'an unknown field',
      { image: base64, colour: 'red' },
      400,
      'bad_field',
      /"colour".*Known fields: image, .*settings/,
    ],
    [
      'a setting beside settings',
      { image: base64, num_beams: 2 },
      400,
      'bad_field',
      /Known fields: .*settings/,
    ],
    ['an unknown setting', { image: base64, settings: { beams: 2 } }, 400, 'bad_field', /"beams".*num_beams/],
    [
      'a setting out of range',
      { image: base64, settings: { num_beams: 99 } },
      400,
      'bad_field',
      /num_beams.*64/,
    ],
    ['no picture', {}, 400, 'no_picture', /picture/],
    ['an empty picture', { image: '' }, 400, 'no_picture', /picture/],
    ['a number for a picture', { image: 7 }, 400, 'bad_base64', /base64/],
    ['wrong base64', { image: 'not*base64' }, 400, 'bad_base64', /base64/],
    ['an address for a picture', { image: 'http://169.254.169.254/a.png' }, 400, 'bad_base64', /base64/],
    [
      'half a surrogate pair',
      `{"image":"${base64}","prompt":"\\ud800"}`,
      400,
      'bad_field',
      /prompt.*Unicode/,
    ],
    ['broken JSON', '{"image": "secret', 400, 'bad_json', /JSON/],
    ['JSON that is no object', '[]', 400, 'bad_json', /object/],
    ['nesting 100,000 deep', '['.repeat(100_000), 400, 'bad_json', /JSON/],
    [
      'nesting 5,000,000 deep',
      `{"image":"${base64}","a":${'['.repeat(5_000_000)}`,
      400,
      'too_many_words',
      /256 KiB/,
    ],
    ['words beside the key image', { image: 'a', image2: words }, 400, 'too_many_words', /256 KiB/],
    ['words that look like a picture', { a: 'image', b: words }, 400, 'too_many_words', /256 KiB/],
    ['words of escapes', `{"image":"${'\\"'.repeat(300_000)}"}`, 400, 'too_many_words', /256 KiB/],
    [
      'a thousand ends',
      { image: base64, settings: { eos_token_id: ends } },
      400,
      'bad_field',
      /eos_token_id/,
    ],
    ['__proto__', `{"image":"${base64}","__proto__":{"a":1}}`, 400, 'bad_field', /Unknown field/],
    ['not a picture', { image: 'AAAA' }, 415, 'not_a_picture', /picture/],
  ]
  test.each(cases)('%s is refused with an explanation', async (_, body, status, code, words) => {
    const { json, report } = serve()
    const refused = await problem(await json('/v1/caption', body))
    expect(refused).toMatchObject({ status, code, retry: false })
    expect(refused.message).toMatch(words)
    expect(refused.message).not.toMatch('secret')
    expect(report).not.toHaveBeenCalled()
  })

  test('of another content type is refused with the types that are taken', async () => {
    const { send } = serve()
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', '']) {
      const refused = await send('/v1/caption', {
        method: 'POST',
        body: 'a=b',
        headers: { 'content-type': type },
      })
      expect(await problem(refused)).toMatchObject({ status: 415, code: 'wrong_type' })
    }
  })

  test('in a form: a text for the picture, a field twice, a part too many, a cut form', async () => {
    const { send } = serve()
    const post = async (body: BodyInit, headers?: HeadersInit) =>
      problem(await send('/v1/caption', { method: 'POST', body, headers }))
    expect(await post(form({ image: 'text' }))).toMatchObject({ status: 400, code: 'no_picture' })
    const twice = form({ image: PNG })
    twice.append('num_beams', '1')
    twice.append('num_beams', '2')
    expect((await post(twice)).message).toMatch(/num_beams.*twice/)
    const many = form({ image: PNG })
    for (let index = 0; index < 100; index++) many.append(`field${index}`, '')
    expect(await post(many)).toMatchObject({ status: 400, code: 'bad_form' })
    const cut = { 'content-type': 'multipart/form-data; boundary=x' }
    expect(await post('--x\r\n', cut)).toMatchObject({ status: 400, code: 'bad_form' })
    expect(await post('', { 'content-type': 'multipart/form-data' })).toMatchObject({
      status: 400,
      code: 'bad_form',
    })
    expect((await post(form({ image: PNG, colour: 'red' }))).message).toMatch(/"colour".*num_beams/)
  })

  test('with a turn longer than a question may be is refused', async () => {
    const { json, engine } = serve()
    for (const turn of [
      { question: 'a?', answer: 'a'.repeat(2001) },
      { question: 'a'.repeat(2001), answer: 'a' },
    ]) {
      const refused = await problem(
        await json('/v1/answer', { image: base64, question: 'a?', history: [turn] }),
      )
      expect(refused).toMatchObject({ status: 400, code: 'bad_field' })
      expect(refused.message).toMatch(/history\.0\.\w+: .*2000/)
    }
    const full = { question: 'a'.repeat(2000), answer: 'a'.repeat(2000) }
    expect((await json('/v1/answer', { image: base64, question: 'a?', history: [full] })).status).toBe(200)
    expect(engine.asks).toHaveLength(1)
  })

  test('larger than its Content-Length is refused while it arrives, not read to its end', async () => {
    const { send, engine } = serve()
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += MIB
        controller.enqueue(new Uint8Array(MIB))
      },
    })
    const lie = { 'content-type': 'image/png', 'content-length': '10' }
    const init = { method: 'POST', body: endless, headers: lie, duplex: 'half' }
    const refused = await problem(await send('/v1/caption', init as RequestInit))
    expect(refused).toMatchObject({ status: 413, code: 'picture_too_large' })
    expect(sent).toBeLessThan(MAX_PICTURE_BYTES + 4 * MIB)
    expect(engine.asks).toHaveLength(0)
  })

  test.each(['image/png', 'multipart/form-data; boundary=x'])(
    'of %s that arrives too slowly is refused, and its slot is free again',
    async (type) => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
      try {
        const { send, json } = serve({ maxQueue: 0 })
        const init = { method: 'POST', headers: { 'content-type': type }, duplex: 'half' }
        const trickle = new ReadableStream({
          start: (controller) => controller.enqueue(new Uint8Array(16_000)),
        })
        const slow = send('/v1/caption', { ...init, body: trickle } as RequestInit)
        // Ten seconds, and one for the 16 kB that came.
        await vi.advanceTimersByTimeAsync(10_900)
        expect((await json('/v1/caption', { image: base64 })).status).toBe(429)
        await vi.advanceTimersByTimeAsync(200)
        const response = await slow
        expect(response.headers.get('connection')).toBe('close')
        expect(await problem(response)).toMatchObject({ status: 408, code: 'too_slow' })
        expect((await json('/v1/caption', { image: base64 })).status).toBe(200)
      } finally {
        vi.useRealTimers()
      }
    },
  )

  test('with too large a Content-Length is refused unread', async () => {
    const { send } = serve()
    const pull = vi.fn()
    const body = new ReadableStream({ pull }, { highWaterMark: 0 })
    const headers = { 'content-type': 'image/png', 'content-length': String(MAX_PICTURE_BYTES + 1) }
    const init = { method: 'POST', body, headers, duplex: 'half' }
    expect((await send('/v1/caption', init as RequestInit)).status).toBe(413)
    expect(pull).not.toHaveBeenCalled()
  })

  test('base64 is read as JSON writers escape it', async () => {
    const { json, engine } = serve()
    const picture = Buffer.concat([PNG, Buffer.alloc(300, 0xfb), Buffer.alloc(300, 0xff)])
    const base64 = picture.toString('base64').replace(/.{76}/g, '$&\\r\\n')
    const escaped = base64.replaceAll('+', '\\u002b').replaceAll('/', '\\/')
    expect((await json('/v1/caption', `{"image": "${escaped}"}`)).status).toBe(200)
    expect(Buffer.from(engine.asks[0]!.image!)).toEqual(picture)
  })

  test('with a picture of exactly the limit is taken, with one byte more it is not', async () => {
    const { json, engine } = serve()
    const picture = Buffer.alloc(MAX_PICTURE_BYTES)
    picture.set(PNG)
    expect((await json('/v1/caption', { image: picture.toString('base64') })).status).toBe(200)
    const larger = Buffer.concat([picture, PNG.subarray(0, 1)])
    expect((await json('/v1/caption', { image: larger.toString('base64') })).status).toBe(413)
    expect(engine.asks).toHaveLength(1)
  })
})

describe('a failure', () => {
  const cases: [unknown, number, boolean][] = [
    [new RequestError('damaged_picture', 'words'), 422, false],
    [new BusyError('busy', 'words'), 429, true],
    [new BusyError('restarting', 'words'), 503, true],
    [new BusyError('deadline', 'words'), 504, true],
    [new UpstreamError('hub_unreachable', 'words'), 502, true],
    [new SetupError('no_model', 'words'), 500, false],
    [new ArtifactError('graph_unreadable', 'words'), 500, false],
  ]
  test.each(cases)('%s has the status and the retry of errors.ts', async (error, status, retry) => {
    const { engine, json } = serve()
    engine.fail(error)
    const response = await json('/v1/caption', { image: base64 })
    expect(response.headers.has('retry-after')).toBe(retry)
    expect(await problem(response)).toMatchObject({ status, retry, message: 'words' })
  })

  test('that is unexpected is reported, and its response reveals nothing', async () => {
    const { engine, json, report } = serve()
    const error = new Error('at /home/operator/secret.ts')
    engine.fail(error)
    const response = await json('/v1/caption', { image: base64 })
    const body = await response.text()
    expect(response.status).toBe(500)
    expect(body).not.toMatch(/secret|operator|stack/)
    expect(JSON.parse(body).error).toMatchObject({ code: 'internal', retry: false })
    expect(report).toHaveBeenCalledWith(error)
  })
})

describe('a stream', () => {
  const events = async (response: Response) =>
    [...(await response.text()).matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, event, data]) => ({
      event,
      data: JSON.parse(data ?? ''),
    }))

  test('sends the pieces, then the whole result', async () => {
    const { json } = serve()
    const accept = { headers: { accept: 'text/event-stream' } }
    for (const [body, init] of [
      [{ image: base64, stream: true }, {}],
      [{ image: base64 }, accept],
    ] as const) {
      const response = await json('/v1/caption', body, init)
      expect(response.headers.get('content-type')).toBe('text/event-stream')
      const all = await events(response)
      const pieces = all.filter(({ event }) => event === 'token').map(({ data }) => data.text)
      expect(pieces.length).toBeGreaterThan(1)
      expect(pieces.join('')).toBe(CAPTION)
      expect(all.at(-1)).toMatchObject({ event: 'reply', data: { text: CAPTION } })
    }
  })

  test('ends with the error when the run fails, and reveals nothing internal', async () => {
    const { engine, json, report } = serve()
    engine.fail(new Error('secret'))
    const all = await events(await json('/v1/caption', { image: base64, stream: true }))
    expect(all).toEqual([{ event: 'error', data: { error: expect.objectContaining({ code: 'internal' }) } }])
    expect(JSON.stringify(all)).not.toMatch('secret')
    expect(report).toHaveBeenCalledOnce()
  })

  test('whose client disconnects aborts the run', async () => {
    const { engine, json } = serve()
    engine.hold()
    const response = await json('/v1/caption', { image: base64, stream: true })
    await response.body?.cancel()
    await expect.poll(() => engine.aborted).toBe(1)
    expect(engine.pending).toBe(0)
  })
})

test('a client that disconnects aborts the run', async () => {
  const { engine, json } = serve()
  engine.hold()
  const client = new AbortController()
  const answer = json('/v1/caption', { image: base64 }, { signal: client.signal })
  await expect.poll(() => engine.asks).toHaveLength(1)
  client.abort()
  expect((await answer).status).toBe(499)
  expect(engine.aborted).toBe(1)
})

describe('the queue', () => {
  test('takes one that runs and maxQueue that wait, and tells the next its place and when to try again', async () => {
    const { engine, json, send } = serve({ maxQueue: 2 })
    engine.hold()
    const taken = [1, 2, 3].map(() => json('/v1/caption', { image: base64 }))
    const load = async () => ((await (await send('/readyz')).json()) as { load: number }).load
    await expect.poll(async () => [await load(), engine.pending]).toEqual([3, 1])
    const refused = await json('/v1/caption', { image: base64 })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    const { status, code, retry, message } = await problem(refused)
    expect({ status, code, retry }).toEqual({ status: 429, code: 'busy', retry: true })
    expect(message).toMatch(/number 4/)
    engine.release()
    for (const response of await Promise.all(taken)) expect(response.status).toBe(200)
    expect((await json('/v1/caption', { image: base64 })).status).toBe(200)
  })

  test('counts requests whose body is still arriving, and frees their slots when it is bad', async () => {
    const { send, json } = serve({ maxQueue: 0 })
    let finish = () => {}
    const slow = new ReadableStream({
      start(controller) {
        finish = () => controller.close()
      },
    })
    const init = { method: 'POST', body: slow, headers: { 'content-type': 'image/png' }, duplex: 'half' }
    const first = send('/v1/caption', init as RequestInit)
    expect((await json('/v1/caption', { image: base64 })).status).toBe(429)
    finish()
    expect((await first).status).toBe(400)
    expect((await json('/v1/caption', { image: base64 })).status).toBe(200)
  })
})

describe('a foreign web page', () => {
  const caption = (headers: Record<string, string>) =>
    serve().json('/v1/caption', { image: base64 }, { headers })

  test('cannot reach the server under its own name (DNS rebinding)', async () => {
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example:8080',
      'evil example',
    ]) {
      expect(await problem(await caption({ host }))).toMatchObject({ status: 403, code: 'foreign_host' })
    }
    expect((await serve().send('/v1/model', { headers: { host: 'evil.example' } })).status).toBe(403)
  })

  test('cannot write: another origin, none, another port of this machine', async () => {
    const host = 'localhost:8080'
    for (const origin of ['https://evil.example', 'null', 'http://localhost:3000', 'http://127.0.0.1:8080']) {
      expect(await problem(await caption({ host, origin }))).toMatchObject({
        status: 403,
        code: 'foreign_origin',
      })
    }
    for (const site of ['cross-site', 'same-site']) {
      expect((await caption({ host, 'sec-fetch-site': site })).status).toBe(403)
    }
  })

  test('is not the page itself, nor a program, nor a name the operator gave', async () => {
    for (const host of ['localhost:8080', '127.0.0.1:8080', '[::1]:8080', '10.0.0.7', 'LOCALHOST']) {
      expect((await caption({ host })).status).toBe(200)
      const own = { host, origin: `http://${host}`.toLowerCase(), 'sec-fetch-site': 'same-origin' }
      expect((await caption(own)).status).toBe(200)
    }
    const headers = { host: 'glimpse.lan:8080' }
    expect((await serve({ hosts: ['Glimpse.lan'] }).send('/v1/model', { headers })).status).toBe(200)
    expect((await serve({ hosts: ['*'] }).send('/v1/model', { headers })).status).toBe(200)
  })

  test('may not read responses, frame the page, run scripts or guess types', async () => {
    const { send } = serve()
    for (const path of ['/', '/v1/model', '/nowhere']) {
      const { headers } = await send(path, { headers: { origin: 'https://evil.example' } })
      expect(headers.has('access-control-allow-origin')).toBe(false)
      expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
      expect(headers.get('content-security-policy')).not.toMatch('unsafe')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
  })
})

describe('other routes', () => {
  test('/v1/model says what the model is and sees', async () => {
    const { engine, send } = serve()
    expect(await (await send('/v1/model')).json()).toEqual(engine.model)
  })

  test('without a bucket, health and captions are there', async () => {
    const store = vi.fn(async () => {
      throw new UpstreamError('state_failed', 'S3 does not answer.')
    })
    const { send, json } = serve({ store })
    for (const path of ['/healthz', '/readyz']) expect((await send(path)).status).toBe(200)
    expect((await json('/v1/caption', { image: base64 })).status).toBe(200)
    expect(store).not.toHaveBeenCalled()
  })

  test('/readyz follows the model from loading to ready to stopping, /healthz stays', async () => {
    const engine = doubleEngine()
    const stopping = new AbortController()
    let opened = (_: typeof engine) => {}
    const promise = new Promise<typeof engine>((resolve) => {
      opened = resolve
    })
    const app = createApp(promise, { stopping: stopping.signal })
    const get = async (path: string) => {
      const response = await app.request(path, { headers: { host: 'probe.internal' } })
      return { status: response.status, body: await response.json() }
    }
    expect(await get('/readyz')).toMatchObject({
      status: 503,
      body: { ready: false, reason: expect.stringMatching('loading') },
    })
    const body = form({ image: PNG })
    const early = await app.request('/v1/caption', { method: 'POST', body })
    expect(await problem(early)).toMatchObject({ status: 503, code: 'loading', retry: true })
    opened(engine)
    await promise
    expect(await get('/readyz')).toEqual({ status: 200, body: { ready: true, model: 'double', load: 0 } })
    stopping.abort()
    expect(await get('/readyz')).toMatchObject({ status: 503, body: { ready: false } })
    expect((await app.request('/v1/caption', { method: 'POST', body: form({ image: PNG }) })).status).toBe(
      503,
    )
    expect((await get('/healthz')).status).toBe(200)
  })

  test('/readyz gives the reason when the model cannot be opened', async () => {
    const app = createApp(
      Promise.reject(new ArtifactError('damaged_artifact', 'Expected vision.onnx but found none.')),
    )
    await new Promise((resolve) => setImmediate(resolve))
    const response = await app.request('/readyz')
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({ ready: false, reason: 'Expected vision.onnx but found none.' })
  })

  test('/readyz gives the reason when chat events no longer arrive; answers go on', async () => {
    let chatFault: string | undefined
    const app = createApp(doubleEngine(), { chatFault: () => chatFault })
    expect((await app.request('/readyz')).status).toBe(200)
    chatFault = 'Discord refused DISCORD_TOKEN.'
    const response = await app.request('/readyz')
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({ ready: false, reason: chatFault })
    const caption = await app.request('/v1/caption', { method: 'POST', body: form({ image: PNG }) })
    expect(caption.status).toBe(200)
  })

  test('the page and its files have their types, and nothing in the page is inline', async () => {
    const { send } = serve()
    const types = {
      '/': 'text/html',
      '/page.css': 'text/css',
      '/page.js': 'text/javascript',
      '/words.js': 'text/javascript',
      '/icon.svg': 'image/svg',
      '/samples/guitars.png': 'image/png',
    }
    for (const [path, type] of Object.entries(types)) {
      expect((await send(path)).headers.get('content-type')).toMatch(type)
    }
    const html = await (await send('/')).text()
    expect(html).not.toMatch(/<script(?![^>]*src=)| style=| on\w+=|https?:\/\/(?!127)/)
  })

  test('the page has the same texts in each language of the chats, and all that its HTML names', async () => {
    const { LANGUAGES } = await import(new URL('../../src/serve/page/words.js', import.meta.url).href)
    expect(Object.keys(LANGUAGES)).toEqual(LOCALES)
    const shapeOf = (texts: object): object =>
      Object.fromEntries(
        Object.entries(texts).map(([key, text]) => [
          key,
          typeof text === 'object' ? shapeOf(text) : typeof text,
        ]),
      )
    for (const texts of Object.values<object>(LANGUAGES))
      expect(shapeOf(texts)).toEqual(shapeOf(LANGUAGES.en))
    const html = await (await serve().send('/')).text()
    const named = [...html.matchAll(/data-(?:t|label|placeholder)="(\w+)"/g)].map(([, key]) => key!)
    expect(named.length).toBeGreaterThan(20)
    expect(named.filter((key) => typeof LANGUAGES.en[key] !== 'string')).toEqual([])
  })

  test('unknown addresses and methods are answered with the known ones', async () => {
    const { send } = serve()
    expect(await problem(await send('/v2/caption'))).toMatchObject({ status: 404, code: 'not_found' })
    const wrong = await send('/v1/caption')
    expect(wrong.headers.get('allow')).toBe('POST')
    expect(await problem(wrong)).toMatchObject({ status: 405, code: 'wrong_method' })
    expect((await send('/../../etc/passwd')).status).toBe(404)
  })
})

afterEach(() => vi.restoreAllMocks())
