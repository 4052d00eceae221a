// OpenAI's API at /v1/chat/completions and /v1/models: the official client, unmodified, against a server on loopback.

import { createHash } from 'node:crypto'
import OpenAI, { APIError, type ClientOptions } from 'openai'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { BusyError } from '../../src/errors.ts'
import { configureLog } from '../../src/observe/log.ts'
import { cutAtStop, settledBeforeStop } from '../../src/serve/openai/stop.ts'
import type { AppOptions } from '../../src/serve/routes.ts'
import { startServer } from '../../src/serve/server.ts'
import { CAPTION, doubleEngine, PNG } from './double.ts'

beforeAll(() => configureLog('json', { write: () => {} }))

type Messages = OpenAI.ChatCompletionMessageParam[]

const DATA_URL = `data:image/png;base64,${Buffer.from(PNG).toString('base64')}`
const picture = (url = DATA_URL) => ({ type: 'image_url', image_url: { url } }) as const
const text = (text: string) => ({ type: 'text', text }) as const
const user = (...content: OpenAI.ChatCompletionContentPart[]) => ({ role: 'user', content }) as const
const assistant = (content: string) => ({ role: 'assistant', content }) as const

async function serve(options: AppOptions = {}, client: ClientOptions = {}) {
  const engine = doubleEngine()
  const server = await startServer(engine, { port: 0, report: () => {}, ...options })
  onTestFinished(() => server.close())
  const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'any', maxRetries: 0, ...client })
  const complete = (messages: Messages, more: object = {}) =>
    openai.chat.completions.create({ model: 'any', messages, ...more, stream: false })
  return { engine, url: server.url, openai, complete }
}

const failure = async (promise: Promise<unknown>): Promise<APIError> => {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(APIError)
  return error as APIError
}

describe('a completion', () => {
  test('a picture alone is captioned, a picture with words is asked about', async () => {
    const { complete, engine } = await serve()
    const caption = await complete([user(picture())])
    expect(caption).toMatchObject({
      object: 'chat.completion',
      model: engine.model.name,
      choices: [{ index: 0, message: { role: 'assistant', content: CAPTION }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 12, completion_tokens: 7, total_tokens: 19 },
    })
    const answer = await complete([user(text('What is'), picture(), text('it?'))])
    expect(engine.asks.at(-1)).toMatchObject({ task: 'answer', question: 'What is\nit?', history: [] })
    expect(answer.choices[0]!.message.content).toBe('answer 1 to What is\nit?')
  })

  test('words that ask for a description ask for a caption, unless the model reads instructions', async () => {
    const { complete, engine } = await serve()
    const wordings = [
      'Describe this image.',
      'What color is the image?',
      'Write alt text, please',
      'Décris cette image',
    ]
    for (const words of wordings) {
      const reply = await complete([user(text(words), picture())])
      expect([words, reply.choices[0]!.message.content]).toEqual([words, expect.any(String)])
    }
    expect(engine.asks.map(({ task }) => task)).toEqual(['caption', 'answer', 'caption', 'caption'])
    Object.assign(engine.model, { instructions: true })
    await complete([user(text('Describe this image.'), picture())])
    expect(engine.asks.at(-1)).toMatchObject({ task: 'answer', question: 'Describe this image.' })
  })

  test('turns after the newest picture are its history, what was said before is about another', async () => {
    const { complete, engine } = await serve()
    const other = Buffer.from(PNG)
    const older = `data:image/png;base64,${Buffer.concat([other, Buffer.from([0])]).toString('base64')}`
    await complete([
      { role: 'system', content: 'You are kind.' },
      user(text('what is this?'), picture(older)),
      assistant('a cat'),
      user(text('and this?'), picture()),
      assistant('a dog'),
      user(text('never answered')),
      user(text('what color?')),
      assistant('brown'),
      { role: 'user', content: 'is it big?' },
    ])
    const { image, history, question } = engine.asks.at(-1)!
    expect(createHash('sha256').update(image!).digest('hex')).toBe(
      createHash('sha256').update(PNG).digest('hex'),
    )
    expect([question, history]).toEqual([
      'is it big?',
      [
        { question: 'and this?', answer: 'a dog' },
        { question: 'what color?', answer: 'brown' },
      ],
    ])
  })

  test.each<[object, object]>([
    [{}, {}],
    [{ max_tokens: 7 }, { max_new_tokens: 7 }],
    [{ max_tokens: 7, max_completion_tokens: 9_000 }, { max_new_tokens: 2048 }],
    [
      { temperature: 0, seed: 3 },
      { do_sample: false, num_beams: 1 },
    ],
    [
      { temperature: 0.5, seed: -1, top_p: 0.9 },
      { do_sample: true, temperature: 0.5, top_p: 0.9, seed: 0xffffffff, num_beams: 1 },
    ],
    [
      { n: 3, seed: 1 },
      { do_sample: true, num_return_sequences: 3, seed: 1, temperature: 1 },
    ],
    [
      { n: 2, num_beams: 5 },
      { num_beams: 5, num_return_sequences: 2 },
    ],
    [{ n: 2, temperature: 0 }, { do_sample: false }],
    [
      { repetition_penalty: 1.5, num_beams: 2 },
      { repetition_penalty: 1.5, num_beams: 2 },
    ],
    [
      { temperature: 2, seed: 4 },
      { do_sample: true, temperature: 2, seed: 4 },
    ],
  ])('%j becomes %j', async (parameters, settings) => {
    const { complete, engine } = await serve()
    await complete([user(picture())], parameters)
    const defined = Object.entries(engine.asks.at(-1)!.settings ?? {}).filter(
      ([, value]) => value !== undefined,
    )
    expect(Object.fromEntries(defined)).toMatchObject(settings)
    if (Object.keys(settings).length === 0) expect(defined).toEqual([['num_return_sequences', 1]])
  })

  test('as many choices as asked for, also when there is one answer only', async () => {
    const { complete } = await serve()
    const { choices } = await complete([user(picture())], { n: 2, temperature: 0 })
    expect(choices.map(({ index, message }) => [index, message.content])).toEqual([
      [0, CAPTION],
      [1, CAPTION],
    ])
  })

  test('ends before a stop', async () => {
    const { complete } = await serve()
    const { choices } = await complete([user(picture())], { stop: ['nowhere', ' on a'] })
    expect(choices[0]).toMatchObject({ message: { content: 'two red apples' }, finish_reason: 'stop' })
  })

  test('values without an effect pass, others are named', async () => {
    const { complete } = await serve()
    const passing = {
      user: 'me',
      metadata: { a: 'b' },
      store: true,
      frequency_penalty: 0,
      presence_penalty: null,
      tools: [],
      logit_bias: {},
      logprobs: false,
      response_format: { type: 'text' },
      tool_choice: 'none',
      unheard_of: null,
    }
    expect((await complete([user(picture())], passing)).choices).toHaveLength(1)
    for (const [name, value] of Object.entries({
      frequency_penalty: 0.5,
      tools: [{ type: 'function', function: { name: 'f' } }],
      logprobs: true,
      response_format: { type: 'json_object' },
      tool_choice: 'required',
      unheard_of: 1,
    })) {
      const error = await failure(complete([user(picture())], { [name]: value }))
      expect([error.status, error.code, error.type]).toEqual([400, 'bad_field', 'invalid_request_error'])
      expect(error.message).toContain(`"${name}"`)
    }
  })
})

describe('a stream', () => {
  test('has the role, the text in pieces, why it ended, the token counts when asked for, and [DONE]', async () => {
    const { openai } = await serve()
    const chunks = []
    const stream = await openai.chat.completions.create({
      model: 'any',
      messages: [user(picture())],
      stream: true,
      stream_options: { include_usage: true },
    })
    for await (const chunk of stream) chunks.push(chunk)
    const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta))
    expect(deltas[0]).toEqual({ role: 'assistant', content: '' })
    expect(deltas.map(({ content }) => content ?? '').join('')).toBe(CAPTION)
    expect(deltas.length).toBeGreaterThan(3)
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe('stop')
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 19 } })
  })

  test('holds back what may become a stop', async () => {
    const { openai } = await serve()
    const stream = openai.chat.completions.stream({
      model: 'any',
      messages: [user(picture())],
      stop: 'apples on a white house',
    })
    expect(await stream.finalContent()).toBe(CAPTION)
    const cut = openai.chat.completions.stream({ model: 'any', messages: [user(picture())], stop: 'les on' })
    expect(await cut.finalContent()).toBe('two red app')
  })

  test('an error after it began is an error of the client', async () => {
    const { openai, engine } = await serve()
    engine.fail(new BusyError('restarting', 'The model is restarting.'))
    const stream = await openai.chat.completions.create({
      model: 'any',
      messages: [user(picture())],
      stream: true,
    })
    const error = await failure(
      (async () => {
        for await (const _ of stream);
      })(),
    )
    expect([error.code, error.type]).toEqual(['restarting', 'server_error'])
  })

  test('a client that leaves stops the run', async () => {
    const { openai, engine } = await serve()
    engine.hold()
    const stream = await openai.chat.completions.create({
      model: 'any',
      messages: [user(picture())],
      stream: true,
    })
    await expect.poll(() => engine.asks.length).toBe(1)
    stream.controller.abort()
    await expect.poll(() => engine.aborted).toBe(1)
  })
})

describe('refused', () => {
  test.each<[string, Messages, string]>([
    ['no picture', [user(text('what is it?'))], 'no_picture'],
    ['no message', [], 'bad_field'],
    ['a picture of the assistant only', [{ role: 'assistant', content: 'x' }, user(text('y'))], 'no_picture'],
    ['an address', [user(picture('https://example.com/a.png'))], 'picture_forbidden'],
    ['a data URL that is not base64', [user(picture('data:image/svg+xml,<svg/>'))], 'bad_base64'],
    ['a last message of the assistant', [user(picture()), assistant('a cat')], 'bad_field'],
    ['a question too long', [user(picture(), text('why '.repeat(600)))], 'bad_field'],
    ['a result of a tool', [user(picture()), { role: 'tool', content: 'x', tool_call_id: '1' }], 'bad_field'],
  ])('%s', async (_, messages, code) => {
    const { complete, engine } = await serve()
    expect(await failure(complete(messages))).toMatchObject({ status: 400, code })
    expect(engine.asks).toEqual([])
  })

  test('a wrong token, a foreign model name, and megabytes of brackets', async () => {
    const { openai, url } = await serve({ token: 'right' })
    const error = await failure(openai.models.list().asResponse())
    expect([error.status, error.type]).toEqual([401, 'authentication_error'])
    const known = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'right', maxRetries: 0 })
    const { data } = await known.models.list()
    expect(await known.models.retrieve(data[0]!.id)).toMatchObject({ id: data[0]!.id, owned_by: 'glimpse' })
    expect((await failure(known.models.retrieve('gpt-4o'))).status).toBe(404)
    const huge = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer right' },
      body: '['.repeat(5_000_000),
    })
    expect([huge.status, ((await huge.json()) as APIError).error]).toMatchObject([
      400,
      { code: 'too_many_words' },
    ])
  })
})

describe('web pages of other origins', () => {
  const ORIGIN = 'https://app.example'
  const ask = (url: string, init: RequestInit) => fetch(`${url}/v1/models`, init)

  test('may read and write only when they are listed', async () => {
    const { url } = await serve({ origins: [ORIGIN] })
    const preflight = await ask(url, {
      method: 'OPTIONS',
      headers: {
        origin: ORIGIN,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe(ORIGIN)
    expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization')
    const post = (origin: string) =>
      fetch(`${url}/v1/caption`, {
        method: 'POST',
        headers: { origin, 'content-type': 'image/png', 'sec-fetch-site': 'cross-site' },
        body: PNG as BodyInit,
      })
    const listed = await post(ORIGIN)
    expect([listed.status, listed.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN])
    const other = await post('https://evil.example')
    expect([other.status, other.headers.get('access-control-allow-origin')]).toEqual([403, null])
  })

  test('none are by default', async () => {
    const { url } = await serve()
    const preflight = await ask(url, { method: 'OPTIONS', headers: { origin: ORIGIN } })
    expect(preflight.headers.get('access-control-allow-origin')).toBeNull()
  })
})

test('what is settled before a stop is a prefix of the final text, wherever the pieces end', () => {
  const whole = 'ab aab aabc abca'
  for (const stops of [['abc'], ['aabca', 'bc'], ['a'], ['zz', ' aabc a'], []]) {
    const final = cutAtStop(whole, stops)
    let before = ''
    for (let end = 0; end <= whole.length; end++) {
      const settled = settledBeforeStop(whole.slice(0, end), stops)
      expect(final.startsWith(settled)).toBe(true)
      expect(settled.startsWith(before)).toBe(true)
      before = settled
    }
  }
})
