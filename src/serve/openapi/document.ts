// The table of operations -> the OpenAPI 3.1 document (spec.openapis.org/oas/v3.1.1), served as /openapi.json.

import type { z } from 'zod'
import { generationSettings } from '../../generation-settings.ts'
import { GLIMPSE_VERSION } from '../../versions.ts'
import { formOf, type JsonSchema, schemaWriter } from './json-schema.ts'
import { OPERATIONS, type Operation, taskNames, webhookAt } from './operations.ts'
import { openAiProblem, problem } from './responses.ts'

/** What an error of each status means (errors.ts). */
const ERRORS: Record<number, string> = {
  400: 'The request is wrong; the message says what.',
  401: 'The token of this server was not sent.',
  403: 'The host, or the web page that sends the request, is not accepted.',
  404: 'It does not exist.',
  408: 'The body arrives too slowly.',
  410: 'The upload has expired.',
  413: 'The picture is too large.',
  415: 'The body, or the picture, is of another type.',
  422: 'The picture cannot be read, the model does not have the task, or the Idempotency-Key was sent with another request.',
  429: 'The queue is full.',
  431: 'The headers are too large.',
  499: 'The client disconnected.',
  500: 'This server or its setup fails.',
  502: 'Another service fails, such as a remote engine.',
  503: 'The model is loading, restarting or stopping.',
  504: 'The deadline passed, waiting included.',
}
const OF_EVERY_ROUTE = [400, 403, 431, 500, 503]
const OF_RUNS = [429, 499, 502, 504]
/** Statuses with Retry-After. */
const RETRIED = [429, 502, 503, 504]

const HEADERS = {
  'X-Request-Id': { description: 'The id of the request, which the log has too', schema: { type: 'string' } },
  'Server-Timing': { description: 'Milliseconds in each stage (W3C)', schema: { type: 'string' } },
  'Idempotent-Replayed': {
    description: '`true`: this is the response of an earlier request with the same Idempotency-Key',
    schema: { const: 'true' },
  },
  'Retry-After': {
    description: 'Seconds until the same request may succeed',
    schema: { type: 'string', pattern: '^[0-9]+$' },
  },
  'WWW-Authenticate': { description: 'Bearer', schema: { type: 'string' } },
}
const PARAMETERS = {
  RequestId: {
    name: 'X-Request-Id',
    in: 'header',
    description: 'An id of up to 128 characters, for the log. Without one, it is made.',
    schema: { type: 'string', maxLength: 128 },
  },
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    description: 'The same request with the same key has the same answer for an hour, without another run.',
    schema: { type: 'string', pattern: '^[\\x21-\\x7e]{1,200}$' },
  },
  Tenant: {
    name: 'X-Glimpse-Tenant',
    in: 'header',
    description: 'With the token: whom the request is for. Tenants take turns.',
    schema: { type: 'string', pattern: '^[\\w.@:-]{1,64}$' },
  },
}
const TAGS: Record<Operation['tag'], string> = {
  Pictures: 'What is in a picture, and questions about it.',
  OpenAI: "For clients of OpenAI's API.",
  Vectors: "For clients of OpenAI's, Jina's, Cohere's and vLLM's APIs, with a model that matches.",
  Collections: 'Pictures that are found by texts and by other pictures.',
  Server: 'State, platforms, large pictures.',
  Page: 'The page for people.',
  Chats: 'Webhooks.',
}

type Headers = keyof typeof HEADERS
const headers = (...names: Headers[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
const parameter = (name: keyof typeof PARAMETERS) => ({ $ref: `#/components/parameters/${name}` })

/** @param webhooks paths of the chat platforms that are set up */
export function openApiDocument(webhooks: readonly string[] = []): object {
  const writer = schemaWriter()
  const settings = withoutRequired(writer.request(generationSettings))
  const anyOf = (schemas: z.ZodType | readonly z.ZodType[], write: (one: z.ZodType) => JsonSchema) => {
    const all = [schemas].flat() as z.ZodType[]
    return all.length === 1 ? write(all[0]!) : { anyOf: all.map(write) }
  }
  const errorOf = (status: number, { errorForm }: Operation) => ({
    description: ERRORS[status],
    headers: headers(
      'X-Request-Id',
      ...(RETRIED.includes(status) ? (['Retry-After'] as const) : []),
      ...(status === 401 ? (['WWW-Authenticate'] as const) : []),
    ),
    content: {
      'application/json': { schema: writer.response(errorForm === 'openai' ? openAiProblem : problem) },
    },
  })

  const contentOf = ({ response, events }: Operation) => {
    if (response === 'none') return undefined
    if ('type' in response) {
      const isJson = response.type === 'application/json'
      return { [response.type]: { schema: isJson ? { type: 'object' } : { type: 'string' } } }
    }
    const json = { 'application/json': { schema: anyOf(response.json, writer.response) } }
    if (!events) return json
    const data = Object.entries(events).map(([name, schema]) => [name, anyOf(schema, writer.response)])
    const error = writer.response('message' in events ? openAiProblem : problem)
    const list = Object.keys(events).map((name) => `\`${name}\``)
    const end =
      'message' in events
        ? 'Events without a name: chunks, then `[DONE]`, or an error.'
        : `Events ${list.join(', ')}: any number of \`token\`, then one \`reply\` or one \`error\`.`
    return {
      ...json,
      'text/event-stream': {
        schema: { type: 'string', description: `Server-sent events, with \`stream\`. ${end}` },
        'x-events': { ...Object.fromEntries(data), error },
      },
    }
  }

  const bodyOf = ({ path, request }: Operation) => {
    if (!request) return {}
    if (request.fields.length === 0) return { required: true, content: { 'application/json': {} } }
    const withTask = (schema: z.ZodType) => {
      const fields = writer.request(schema)
      const names = taskNames(path)
      return names.length === 0
        ? fields
        : { ...fields, properties: { task: { enum: names }, ...fields.properties } }
    }
    const schemas = request.fields.map((fields) => withSettings(withTask(fields), path, settings))
    const schema = schemas.length === 1 ? schemas[0]! : { anyOf: schemas }
    const examples = Object.entries(request.examples ?? {}).map(([name, value]) => [name, { value }])
    const forms = schemas.map((one) => formOf(one, settings))
    return {
      required: true,
      content: {
        'application/json': { schema, examples: Object.fromEntries(examples) },
        ...(request.form && {
          'multipart/form-data': { schema: forms.length === 1 ? forms[0] : { anyOf: forms } },
        }),
        ...(request.picture && { 'image/*': {}, 'application/octet-stream': {} }),
      },
    }
  }

  const parametersOf = ({ path, query, request, runs, token }: Operation) => {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string', minLength: 1 },
    }))
    const ofBody = request?.picture ? writer.request(request.fields[0]!) : {}
    const beside = formOf(ofBody, settings).properties ?? {}
    const inQuery = {
      ...(query && writer.request(query).properties),
      ...Object.fromEntries(Object.entries(beside).filter(([name]) => !PICTURES.includes(name))),
    }
    return [
      ...inPath,
      ...Object.entries(inQuery).map(([name, schema]) => ({
        name,
        in: 'query',
        ...(request?.picture && { description: 'Only where the body is the picture itself.' }),
        schema,
      })),
      parameter('RequestId'),
      ...(runs ? [parameter('IdempotencyKey')] : []),
      ...(token ? [parameter('Tenant')] : []),
    ]
  }

  const described = (operation: Operation) => {
    const { tag, summary, description, response, token, runs, request, method, path } = operation
    const isJson = response !== 'none' && 'json' in response
    const status = response === 'none' ? 204 : isJson ? (response.status ?? 200) : 200
    const errors = [
      ...OF_EVERY_ROUTE,
      ...(token ? [401] : []),
      ...(runs ? OF_RUNS : []),
      ...(operation.errors ?? []),
    ]
    const also = isJson ? Object.entries(response.also ?? {}) : []
    const responses = {
      [status]: {
        description: response === 'none' ? 'Done.' : 'The answer.',
        headers: headers(
          'X-Request-Id',
          ...(runs ? (['Server-Timing', 'Idempotent-Replayed'] as const) : []),
        ),
        content: contentOf(operation),
      },
      ...Object.fromEntries(errors.map((code) => [code, errorOf(code, operation)])),
      ...Object.fromEntries(
        also.map(([code, schema]) => [
          code,
          {
            description: ERRORS[Number(code)],
            content: { 'application/json': { schema: writer.response(schema) } },
          },
        ]),
      ),
    }
    return {
      operationId: `${method}${path.replace(/[^\w]+(\w|$)/g, (_, letter: string) => letter.toUpperCase())}`,
      tags: [tag],
      summary,
      description,
      security: token ? [{ token: [] }, {}] : [],
      parameters: parametersOf(operation),
      ...(request && { requestBody: bodyOf(operation) }),
      responses,
    }
  }

  const paths: Record<string, Record<string, unknown>> = {}
  for (const operation of [...OPERATIONS, ...webhooks.map(webhookAt)]) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: described(operation) }
  }
  const tags = Object.entries(TAGS).map(([name, description]) => ({ name, description }))
  const document = {
    openapi: '3.1.0',
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    info: {
      title: 'Glimpse',
      version: GLIMPSE_VERSION,
      summary: 'Captions pictures and answers questions about them with BLIP-2.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: webhooks.length > 0 ? tags : tags.filter(({ name }) => name !== 'Chats'),
    paths,
    components: {
      schemas: writer.components,
      headers: HEADERS,
      parameters: PARAMETERS,
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Where GLIMPSE_API_TOKEN is set.' },
      },
    },
  }
  return JSON.parse(JSON.stringify(document)) as object
}

/** Fields that say which picture is meant. */
const PICTURES = ['image', 'upload', 'picture', 'metadata']

/** The settings that chat completions take by their own names, and that are not parameters of OpenAI's. */
function withSettings(schema: JsonSchema, path: string, settings: JsonSchema): JsonSchema {
  if (path !== '/v1/chat/completions') return schema
  return { ...schema, properties: { ...settings.properties, ...schema.properties } }
}

function withoutRequired({ required, ...schema }: JsonSchema): JsonSchema {
  return schema
}
