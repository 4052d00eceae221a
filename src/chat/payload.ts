// Schema parts for payloads of chat platforms, where an optional field is absent, null, or of a type that came later. Each
// becomes undefined, or is left out of a list: one odd field must not hide a whole message.

import { z } from 'zod'

export const maybe = <T extends z.ZodType>(schema: T) =>
  schema
    .nullish()
    .catch(undefined)
    .transform((value) => value ?? undefined)

export const list = <T extends z.ZodType>(schema: T) =>
  z
    .array(z.unknown())
    .nullish()
    .catch(undefined)
    .transform((values) =>
      (values ?? []).flatMap((value): z.infer<T>[] => {
        const { success, data } = schema.safeParse(value)
        return success ? [data] : []
      }),
    )
