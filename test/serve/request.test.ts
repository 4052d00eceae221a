// What a body may say: which task it is for, texts that look like JSON, hostile names and values, and the same request in
// several forms.

import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import type { Problem } from '../../src/serve/problem.ts'
import { createApp } from '../../src/serve/routes.ts'
import { type Double, doubleEngine, PNG } from './double.ts'

beforeAll(() => configureLog('json', { write: () => {} }))

const base64 = Buffer.from(PNG).toString('base64')
const report = vi.fn()
let engine: Double
let app: ReturnType<typeof createApp>
beforeEach(() => {
  engine = doubleEngine()
  app = createApp(engine, { report })
  report.mockReset()
})

const post = async (path: string, body: BodyInit, headers: HeadersInit = {}) =>
  await app.request(path, { method: 'POST', body, headers })
/** A text is sent as it is, so that it can hold what JSON.stringify cannot write. */
const json = (path: string, body: object | string, headers: HeadersInit = {}) =>
  post(path, typeof body === 'string' ? body : JSON.stringify(body), {
    'content-type': 'application/json',
    ...headers,
  })
const form = (path: string, fields: Record<string, string>, headers: HeadersInit = {}) => {
  const data = new FormData()
  data.append('image', new Blob([PNG as BlobPart]))
  for (const [name, value] of Object.entries(fields)) data.append(name, value)
  return post(path, data, headers)
}
const bare = (path: string, fields: Record<string, string>) =>
  post(`${path}?${new URLSearchParams(fields)}`, PNG as BodyInit, { 'content-type': 'image/png' })

/** The message of a request that the client has to mend. The engine did not see it, and it is no fault of the server. */
async function refused(response: Response, code = 'bad_field') {
  const { error } = (await response.json()) as Problem
  expect([response.status, error.code], error.message).toEqual([400, code])
  expect(engine.asks).toEqual([])
  expect(report).not.toHaveBeenCalled()
  return error.message
}
/** What the engine was asked. */
async function asked(response: Response) {
  expect(response.status, await response.clone().text()).toBe(200)
  return engine.asks.at(-1)!
}

describe('the task', () => {
  const history = [{ question: 'what?', answer: 'a cat' }]

  test.each([
    [{}, 'caption'],
    [{ question: '' }, 'caption'],
    [{ question: ' \n' }, 'caption'],
    [{ settings: { num_beams: 2 } }, 'caption'],
    [{ question: 'what is it?' }, 'answer'],
    [{ question: 'and now?', history }, 'answer'],
    [{ prompt: 'a photo of' }, 'answer'],
    [{ task: 'caption' }, 'caption'],
    [{ task: 'caption', prompt: 'a photo of' }, 'caption'],
    [{ task: 'answer', question: 'what is it?' }, 'answer'],
    [{ task: 'answer', prompt: 'a photo of' }, 'answer'],
  ])('of /invocations with %j is %s', async (fields, task) => {
    const { image, task: found } = await asked(await json('/invocations', { image: base64, ...fields }))
    expect([found, image]).toEqual([task, PNG])
  })

  test('of a form and of a bare picture is found alike', async () => {
    expect((await asked(await form('/invocations', { question: '' }))).task).toBe('caption')
    expect((await asked(await form('/invocations', { question: '42' }))).task).toBe('answer')
    expect((await asked(await form('/invocations', { task: 'answer', prompt: 'a' }))).task).toBe('answer')
    expect((await asked(await bare('/invocations', {}))).task).toBe('caption')
    expect((await asked(await bare('/invocations', { question: 'what?' }))).task).toBe('answer')
    expect((await asked(await bare('/invocations', { task: 'answer', question: '7' }))).question).toBe('7')
  })

  test.each([
    [{ history }, 'no_question', /question/],
    [{ task: 'answer' }, 'no_question', /question/],
    [{ task: 'answer', question: ' ' }, 'no_question', /question/],
    [{ task: 'caption', question: 'what?' }, 'bad_field', /\/v1\/answer/],
    [{ task: 'answer', question: 'what?', prompt: 'a' }, 'bad_field', /one or the other/],
    [{ question: null }, 'bad_field', /question: .*expected string/],
    [{ question: 42 }, 'bad_field', /question: .*expected string/],
  ])('of /invocations with %j is refused when its fields do not fit', async (fields, code, words) => {
    expect(await refused(await json('/invocations', { image: base64, ...fields }), code)).toMatch(words)
  })

  test('may be named at its own route, and no other', async () => {
    expect((await asked(await json('/v1/caption', { image: base64, task: 'caption' }))).task).toBe('caption')
    expect((await asked(await form('/v1/answer', { question: '7', task: 'answer' }))).task).toBe('answer')
    engine.asks.length = 0
    for (const body of [{ task: 'answer' }, { task: 'answer', question: 'what?' }]) {
      const message = await refused(await json('/v1/caption', { image: base64, ...body }))
      expect(message).toBe(
        'POST /v1/caption takes no requests for the task answer. Send it to POST /v1/answer.',
      )
    }
  })

  const odd = [
    '""',
    '"Caption"',
    '"levitation"',
    '"constructor"',
    '"__proto__"',
    '"toString"',
    JSON.stringify('a\n\u0000b'),
    JSON.stringify('x'.repeat(200)),
    'null',
    'true',
    '7',
    '[]',
    '["caption"]',
    '{}',
    '{"toString":1,"valueOf":1}',
    '{"toString":null}',
    '{"__proto__":null}',
  ]
  test.each(odd)('that is none, %s, is refused everywhere with the names', async (task) => {
    for (const path of ['/invocations', '/v1/caption', '/v1/answer']) {
      const message = await refused(await json(path, `{"image":"${base64}","question":"a?","task":${task}}`))
      expect(message).toMatch(/^Expected task to be one of caption, answer, match, features but got ["a]/)
      expect(message).toMatch(/^[ -~]{1,120}$/)
    }
  })

  test('has a route only if it has a row', async () => {
    for (const name of ['levitation', 'constructor', '__proto__', 'any', 'unknown']) {
      expect((await json(`/v1/${name}`, { image: base64 })).status).toBe(404)
    }
  })
})

describe('a text', () => {
  const texts = [
    '42',
    '-1e3',
    '[1]',
    'true',
    'null',
    '{}',
    '"quoted"',
    '[{"question":"a","answer":"b"}]',
    '{"a":1}',
    ' 7 ',
  ]

  test.each(texts)('%s that looks like JSON stays text, in a form and in an address', async (text) => {
    expect((await asked(await form('/v1/answer', { question: text }))).question).toBe(text)
    expect((await asked(await form('/v1/caption', { prompt: text }))).prompt).toBe(text)
    expect((await asked(await bare('/v1/caption', { prompt: text }))).prompt).toBe(text)
  })

  test('that names a picture or an upload stays text', async () => {
    expect(await refused(await form('/v1/caption', { picture: '1'.repeat(64) }))).toMatch('image and picture')
    const data = new FormData()
    data.append('picture', '1'.repeat(64))
    expect((await post('/v1/caption', data)).status).toBe(400)
    expect(engine.asks).toMatchObject([{ picture: '1'.repeat(64) }])
  })

  test('of a form is parsed where a value is wanted', async () => {
    const turns = [{ question: '42', answer: 'true' }]
    const fields = {
      question: 'and?',
      history: JSON.stringify(turns),
      num_beams: '3',
      early_stopping: 'never',
    }
    expect(
      await asked(await form('/v1/answer', { ...fields, eos_token_id: '[2,3]', min_new_tokens: 'null' })),
    ).toMatchObject({
      history: turns,
      settings: { num_beams: 3, early_stopping: 'never', eos_token_id: [2, 3], min_new_tokens: null },
    })
    const whole = { settings: '{"num_beams":3}' }
    expect((await asked(await form('/v1/caption', whole))).settings).toEqual({ num_beams: 3 })
    const reply = await form('/v1/caption', { stream: 'true' })
    expect(reply.headers.get('content-type')).toBe('text/event-stream')
    await reply.text()
  })

  test.each([
    ['not JSON', '[{"question":"a"', /history: /],
    ['empty', '', /history: /],
    ['null', 'null', /history: /],
    ['an object', '{"question":"a","answer":"b"}', /history: /],
    ['turns of numbers', '[{"question":1,"answer":2}]', /history\.0\.question: .*history\.0\.answer: /],
    ['turns with more', '[{"question":"a","answer":"b","image":"c"}]', /"image" in history\.0/],
    [
      'turns with __proto__',
      '[{"question":"a","answer":"b","__proto__":{"c":1}}]',
      /"__proto__" in history\.0/,
    ],
    ['101 turns', JSON.stringify(new Array(101).fill({ question: 'a', answer: 'b' })), /history: .*100/],
    ['brackets', '['.repeat(100_000), /history: /],
    ['brackets in pairs', `${'['.repeat(50_000)}${']'.repeat(50_000)}`, /history/],
  ])('of a history that is %s is refused', async (_, text, words) => {
    expect(await refused(await form('/v1/answer', { question: 'a?', history: text }))).toMatch(words)
  })

  test('in JSON is no history, and no number is a text', async () => {
    const body = { image: base64, question: 'a?' }
    expect(await refused(await json('/v1/answer', { ...body, history: '[]' }))).toMatch(/history: .*array/)
    expect(await refused(await json('/v1/answer', { ...body, question: 42 }))).toMatch(/question: .*string/)
    expect(await refused(await json('/v1/caption', { image: base64, stream: 'true' }))).toMatch(/stream: /)
  })
})

describe('a name', () => {
  const names = [
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'valueOf',
    'then',
    'deadlineMs',
  ]

  test.each(names)('%s of a field or a setting is unknown, wherever it stands', async (name) => {
    const unknown = (message: string) => expect(message).toContain(`Unknown field "${name}"`)
    for (const value of ['{"num_beams":2}', '1', 'null', '[]']) {
      unknown(await refused(await json('/v1/caption', `{"image":"${base64}","${name}":${value}}`)))
      unknown(await refused(await json('/invocations', `{"image":"${base64}","${name}":${value}}`)))
      unknown(
        await refused(await json('/v1/caption', `{"image":"${base64}","settings":{"${name}":${value}}}`)),
      )
      // As an entry, because a literal with __proto__ sets the prototype.
      const fields = Object.fromEntries([[name, value]])
      unknown(await refused(await form('/v1/caption', fields)))
      unknown(await refused(await bare('/v1/caption', fields)))
    }
  })

  test('of a field given twice is refused', async () => {
    expect(await refused(await form('/v1/caption', { settings: '{"num_beams":3}', num_beams: '2' }))).toMatch(
      /settings and num_beams/,
    )
    const twice = await post('/v1/caption?prompt=a&prompt=b', PNG as BodyInit, {
      'content-type': 'image/png',
    })
    expect(await refused(twice)).toMatch(/"prompt" once/)
  })
})

describe('a setting', () => {
  const values = [
    '"3"',
    '"NaN"',
    '"many"',
    '1e999',
    '-1e999',
    '1e308',
    '-3',
    '2.5',
    'null',
    '[]',
    '[3]',
    '{}',
    'true',
  ]

  test.each(values)('%s is no number of beams', async (value) => {
    const message = await refused(
      await json('/v1/caption', `{"image":"${base64}","settings":{"num_beams":${value}}}`),
    )
    expect(message).toMatch(/^settings\.num_beams: /)
    expect(await refused(await form('/v1/caption', { num_beams: value }))).toMatch(/^settings\.num_beams: /)
  })

  test.each(['NaN', 'Infinity', '0x10', '', ' ', '3,', 'three'])(
    '%j in a form is no number',
    async (value) => {
      for (const name of ['num_beams', 'temperature', 'seed', 'top_p']) {
        expect(await refused(await form('/v1/caption', { [name]: value }))).toMatch(`settings.${name}: `)
      }
    },
  )

  test.each(['null', '7', '"num_beams"', '[]', '[{"num_beams":2}]'])(
    '%s is no object of settings',
    async (value) => {
      expect(await refused(await json('/v1/caption', `{"image":"${base64}","settings":${value}}`))).toMatch(
        /^settings: /,
      )
    },
  )
})

test('one key belongs to one request, in whatever form it is sent', async () => {
  const headers = { 'idempotency-key': 'one' }
  const turns = [{ question: 'what?', answer: 'a cat' }]
  const body = { image: base64, question: '42', history: turns, settings: { num_beams: 3, seed: 7 } }
  const pairs = { question: '42', history: JSON.stringify(turns), num_beams: '3', seed: '7' }
  const same = [
    await json('/v1/answer', body, headers),
    await form('/v1/answer', pairs, headers),
    await form('/invocations', { task: 'answer', ...pairs }, headers),
    await json('/invocations', body, headers),
    await json('/v1/answer', { ...body, task: 'answer', image: `data:image/png;base64,${base64}` }, headers),
    await json(
      '/v1/answer',
      {
        settings: { seed: 7, num_beams: 3 },
        history: [{ answer: 'a cat', question: 'what?' }],
        question: '42',
        image: base64,
      },
      headers,
    ),
  ]
  expect(same.map((response) => [response.status, response.headers.get('idempotent-replayed')])).toEqual([
    [200, null],
    ...new Array(5).fill([200, 'true']),
  ])
  expect(engine.asks).toHaveLength(1)
  const others = [
    await json('/v1/answer', { ...body, question: '43' }, headers),
    await json('/v1/answer', { ...body, settings: { num_beams: 3 } }, headers),
    await json('/v1/answer', { ...body, history: undefined }, headers),
    await json('/v1/caption', { image: base64 }, headers),
  ]
  for (const response of others) {
    expect(response.status).toBe(422)
    expect(((await response.json()) as Problem).error.code).toBe('key_taken')
  }
})
