// What each route of routes.ts takes and answers: one row for each, from which document.ts is made.

import { basename } from 'node:path'
import type { z } from 'zod'
import { TASK_NAMES, TASKS, type TaskName } from '../../engine/tasks.ts'
import { pageFields, putFields, searchFields } from '../collection-requests.ts'
import { HEALTH_PATHS } from '../health.ts'
import { parametersSchema } from '../openai/parameters.ts'
import { FILES } from '../page.ts'
import { needsPictureOnly, schemaOf } from '../request.ts'
import { uploadBody } from '../uploads.ts'
import { classifyBody } from '../vectors/classify.ts'
import { embeddingsBody } from '../vectors/embeddings.ts'
import { rerankBody } from '../vectors/rerank.ts'
import { CHAT_EXAMPLES, TASK_EXAMPLES, TINY, TINY_URL } from './examples.ts'
import { alive, COLLECTIONS, card, OPENAI, RESULTS, readiness, token, upload, VECTORS } from './responses.ts'

export interface Operation {
  method: 'get' | 'post' | 'put' | 'delete'
  /** With parameters as {name}. */
  path: string
  /** The group that it is shown in. */
  tag: 'Pictures' | 'OpenAI' | 'Vectors' | 'Collections' | 'Server' | 'Page' | 'Chats'
  summary: string
  description?: string
  /** Fields of the query string. */
  query?: z.ZodObject
  request?: {
    /** Fields of the body. */
    fields: readonly z.ZodType[]
    /** Whether the fields may come as a multipart form. */
    form?: true
    /** Whether the body may be the picture itself, with the other fields in the query string. */
    picture?: boolean
    /** JSON bodies that the server accepts, by name. */
    examples?: Record<string, unknown>
  }
  /** The body of status 200, and what else it may be. */
  response:
    | { json: z.ZodType | readonly z.ZodType[]; status?: 201; also?: Record<number, z.ZodType> }
    | { type: string }
    | 'none'
  /** Data of the events of its stream, by their names; `message` for events without one. */
  events?: Record<string, z.ZodType | readonly z.ZodType[]>
  /** Statuses of errors, besides those of every route. */
  errors?: readonly number[]
  errorForm?: 'openai'
  /** Whether it runs the model: it is admitted or refused with 429, and takes an Idempotency-Key. */
  runs?: true
  /** Whether it needs the token where one is set. */
  token?: true
}

const SUMMARIES: Record<TaskName, string> = {
  caption: 'Says what is in a picture',
  answer: 'Answers a question about a picture',
  match: 'Says how well each text matches a picture, best first',
  features: 'Returns features of a picture, a text, or both',
}
/** Of a request with a picture. */
const ABOUT_PICTURES = [408, 413, 415, 422]

const tasks = TASK_NAMES.map(
  (name): Operation => ({
    method: 'post',
    path: `/v1/${name}`,
    tag: 'Pictures',
    summary: SUMMARIES[name],
    request: {
      fields: [schemaOf(name)],
      form: true,
      picture: needsPictureOnly(name),
      examples: TASK_EXAMPLES[name],
    },
    response: { json: RESULTS[name] },
    events: { token, reply: RESULTS[name] },
    errors: [404, 410, ...ABOUT_PICTURES],
    runs: true,
    token: true,
  }),
)

const completion: Operation = {
  method: 'post',
  path: '/v1/chat/completions',
  tag: 'OpenAI',
  summary: 'Captions a picture, or answers a question about it',
  description:
    'The newest picture is meant, as a data URL. The questions and answers after it are its history. Generation settings ' +
    'are taken by their own names too. A parameter that this server does not have is an error only if its value would change ' +
    'the answer.',
  request: {
    fields: [parametersSchema],
    examples: CHAT_EXAMPLES,
  },
  response: { json: OPENAI.completion },
  events: { message: OPENAI.chunk },
  errors: ABOUT_PICTURES,
  errorForm: 'openai',
  runs: true,
  token: true,
}

const model = { tag: 'OpenAI', errorForm: 'openai', errors: [404], token: true, method: 'get' } as const
const models: Operation[] = [
  {
    ...model,
    path: '/v1/models',
    summary: 'Lists the one model that is served',
    response: { json: OPENAI.models },
  },
  {
    ...model,
    path: '/v1/models/{id}',
    summary: 'The model of this name',
    response: { json: OPENAI.model },
  },
]

const vectorRoute = {
  tag: 'Vectors',
  method: 'post',
  runs: true,
  token: true,
  errors: ABOUT_PICTURES,
} as const
const vectors: Operation[] = [
  {
    ...vectorRoute,
    path: '/v1/embeddings',
    summary: 'Returns a vector for each text and picture',
    description:
      'The vector of a picture is the mean of its vectors, of length 1, unless return_multivector is true. For a model that matches.',
    request: {
      fields: [embeddingsBody],
      examples: {
        texts: { model: 'any', input: ['a cat', 'a dog'] },
        picture: { input: [{ image: TINY }], encoding_format: 'base64' },
      },
    },
    response: { json: VECTORS.embeddings },
    errorForm: 'openai',
  },
  {
    ...vectorRoute,
    path: '/v1/rerank',
    summary: 'Orders pictures by a text, or texts by a picture',
    request: {
      fields: [rerankBody],
      examples: { pictures: { query: 'a cat', documents: [{ image: TINY }, { image: TINY_URL }] } },
    },
    response: { json: VECTORS.rerank },
  },
  {
    ...vectorRoute,
    path: '/v1/classify',
    summary: 'Returns the label that fits each picture best',
    request: {
      fields: [classifyBody],
      examples: {
        labels: { input: [{ image: TINY }], labels: ['cat', 'dog'], template: 'a photo of a {}' },
      },
    },
    response: { json: VECTORS.classify },
  },
]

const ofCollections = { tag: 'Collections', token: true, errors: [404] } as const
const PICTURE = '/v1/collections/{name}/pictures/{id}'
const collectionRoutes: Operation[] = [
  {
    ...ofCollections,
    method: 'get',
    path: '/v1/collections',
    summary: 'Lists the collections',
    response: { json: COLLECTIONS.all },
  },
  {
    ...ofCollections,
    method: 'get',
    path: '/v1/collections/{name}',
    summary: 'One collection',
    response: { json: COLLECTIONS.one },
  },
  {
    ...ofCollections,
    method: 'delete',
    path: '/v1/collections/{name}',
    summary: 'Removes a collection with all of its pictures',
    response: 'none',
  },
  {
    ...ofCollections,
    method: 'get',
    path: '/v1/collections/{name}/pictures',
    summary: 'A page of the pictures of a collection',
    query: pageFields,
    response: { json: COLLECTIONS.page },
  },
  {
    ...ofCollections,
    method: 'put',
    path: PICTURE,
    summary: 'Adds or replaces a picture; the first one makes the collection',
    description: 'The id may have slashes. The picture itself is not kept, only its vectors.',
    request: {
      fields: [putFields],
      form: true,
      picture: true,
      examples: { picture: { image: TINY, date: '2026-05-01', metadata: { by: 'Ann' } } },
    },
    response: { json: COLLECTIONS.put },
    errors: [404, 410, ...ABOUT_PICTURES],
    runs: true,
  },
  {
    ...ofCollections,
    method: 'get',
    path: PICTURE,
    summary: 'The record of a picture',
    response: { json: COLLECTIONS.picture },
  },
  {
    ...ofCollections,
    method: 'delete',
    path: PICTURE,
    summary: 'Removes a picture',
    response: 'none',
  },
  {
    ...ofCollections,
    method: 'post',
    path: '/v1/collections/{name}/search',
    summary: 'Finds pictures by a text, by another picture, and by both together',
    request: {
      fields: [searchFields],
      form: true,
      examples: { text: { text: 'a cat', limit: 5 }, contrastive: { text: 'a cat', rerank: false } },
    },
    response: { json: COLLECTIONS.found },
    errors: [404, 410, ...ABOUT_PICTURES],
    runs: true,
  },
]

const server: Operation[] = [
  {
    method: 'post',
    path: '/invocations',
    tag: 'Server',
    summary: 'Every task, for SageMaker',
    description:
      'Without task, a request with a question, a history or a prompt is an answer, any other a caption.',
    request: {
      fields: TASK_NAMES.map((name) => schemaOf(name)),
      form: true,
      picture: true,
      examples: {
        caption: { image: TINY },
        answer: { image: TINY, task: 'answer', question: 'what is this?' },
      },
    },
    response: { json: TASK_NAMES.map((name) => RESULTS[name]) },
    events: { token, reply: TASK_NAMES.map((name) => RESULTS[name]) },
    errors: [404, 410, ...ABOUT_PICTURES],
    runs: true,
    token: true,
  },
  {
    method: 'post',
    path: '/v1/uploads',
    tag: 'Server',
    summary: 'Returns a URL to PUT a large picture to, and an id to send in its place',
    request: { fields: [uploadBody], examples: { size: { size_bytes: 8_000_000 } } },
    response: { json: upload, status: 201 },
    errors: [404, 413],
    token: true,
  },
  {
    method: 'get',
    path: '/v1/model',
    tag: 'Server',
    summary: 'Name, precision and processor of the model, and what it can see',
    response: { json: card },
    token: true,
  },
  {
    method: 'get',
    path: '/metrics',
    tag: 'Server',
    summary: "Metrics in Prometheus' text format",
    response: { type: 'text/plain' },
    token: true,
  },
  ...[...HEALTH_PATHS].map((path): Operation => {
    const isLive = path === '/healthz' || path.endsWith('/live')
    return {
      method: 'get',
      path,
      tag: 'Server',
      summary: isLive ? '200 while the process is alive' : '200 while the model can answer',
      response: isLive ? { json: alive } : { json: readiness, also: { 503: readiness } },
    }
  }),
  {
    method: 'get',
    path: '/openapi.json',
    tag: 'Server',
    summary: 'This document',
    response: { type: 'application/json' },
  },
]

const files = Object.entries(FILES).map(
  ([path, [file, type]]): Operation => ({
    method: 'get',
    path,
    tag: 'Page',
    summary: `${basename(file)} of the page`,
    response: { type: type.split(';')[0]! },
  }),
)

export const OPERATIONS: readonly Operation[] = [
  ...tasks,
  completion,
  ...models,
  ...vectors,
  ...collectionRoutes,
  ...server,
  ...files,
]

/** The route of a chat platform's events. */
export function webhookAt(path: string): Operation {
  return {
    method: 'post',
    path,
    tag: 'Chats',
    summary: 'Events of a chat platform, signed by it',
    request: { fields: [] },
    response: { type: '*/*' },
  }
}

/** The task that a body of POST /v1/<task> or /invocations may name. */
export const taskNames = (path: string): readonly string[] =>
  path === '/invocations' ? TASK_NAMES : Object.keys(TASKS).filter((name) => path === `/v1/${name}`)
