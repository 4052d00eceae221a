// A picture -> a sentence about it.

import { z } from 'zod'
import { generateFields, generateSteps } from './generate.ts'

export const caption = { ...generateSteps, fields: z.strictObject(generateFields), sample: {} }
