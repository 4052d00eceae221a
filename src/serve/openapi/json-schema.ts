// zod schemas -> the JSON Schemas (draft 2020-12) of an OpenAPI 3.1 document. A schema with an `id` in its `meta` becomes a
// component, which others refer to.

import { z } from 'zod'

export type JsonSchema = { [key: string]: unknown; properties?: Record<string, JsonSchema> }

/** Components of one document, collected while its schemas are made. */
export function schemaWriter() {
  const components: Record<string, JsonSchema> = {}
  const written = (schema: z.ZodType, io: 'input' | 'output'): JsonSchema => {
    const made = z.toJSONSchema(schema, {
      io,
      unrepresentable: 'any',
      override({ zodSchema, jsonSchema }) {
        // A later version may have more fields: clients must take them. Of a request, other fields are an error.
        if (io === 'output' && zodSchema._zod.def.type === 'object') delete jsonSchema.additionalProperties
      },
    })
    const {
      $schema,
      $defs = {},
      ...own
    } = JSON.parse(JSON.stringify(made).replaceAll('"#/$defs/', '"#/components/schemas/')) as JsonSchema & {
      $defs?: Record<string, JsonSchema>
    }
    for (const [name, { id, ...definition }] of Object.entries($defs)) components[name] = definition
    const { id, ...inline } = own
    if (typeof id !== 'string') return inline
    components[id] = inline
    return { $ref: `#/components/schemas/${id}` }
  }
  return {
    components,
    /** What a client may send. */
    request: (schema: z.ZodType) => written(schema, 'input'),
    /** What a client gets. */
    response: (schema: z.ZodType) => written(schema, 'output'),
  }
}

/** A JSON body's fields as those of a form: the picture is a file, and settings are fields by their own names. */
export function formOf(body: JsonSchema, settings: JsonSchema): JsonSchema {
  const { image, settings: _, ...fields } = body.properties ?? {}
  const file = { ...image, type: undefined, contentEncoding: undefined, format: undefined }
  return {
    ...body,
    properties: {
      ...(image && { image: { ...withoutUndefined(file), contentMediaType: 'application/octet-stream' } }),
      ...fields,
      ...(_ && settings.properties),
    },
  }
}

function withoutUndefined(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined))
}
