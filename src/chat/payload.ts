// Schema parts for payloads of chat platforms, where an optional field is absent or null: both become undefined, or an
// empty list.

import { z } from 'zod'

export const maybe = <T extends z.ZodType>(schema: T) =>
  schema.nullish().transform((value) => value ?? undefined)

export const list = <T extends z.ZodType>(schema: T) =>
  z
    .array(schema)
    .nullish()
    .transform((value) => value ?? [])
