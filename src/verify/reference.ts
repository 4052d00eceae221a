// What transformers computed with a checkpoint -> numbers to compare with.
//
// Two forms are read. reference/record.py writes many cases into one file, described by JSON in its metadata. The plain
// form is one case, or one for each picture: `pixel_values`, `vision`, `queries`, `prefix`, `logits`, `token_ids` (those
// that were recorded), and in the metadata `prompt` and the settings of generate, together as JSON or each under its
// name. What might be a setting and is not understood is an error: ignored, it would look like a wrong answer. Here the plain form becomes a description too, so that what compares knows only one.

import { z } from 'zod'
import { reasonOf } from '../checkpoint/files.ts'
import { readSafetensors, type WholeTensor } from '../checkpoint/safetensors.ts'
import { ArtifactError } from '../errors.ts'
import { NO_EFFECT, SETTING_NAMES } from './generate-arguments.ts'

/** Which picture and which prompt, by their places in the description's lists. */
const place = z.object({ picture: z.number().int(), prompt: z.number().int() })
const settings = z.record(z.string(), z.unknown())

const description = z.object({
  checkpoint: z.string(),
  versions: z.record(z.string(), z.string()),
  /** Names of files. */
  pictures: z.array(z.string()),
  prompts: z.array(z.string()),
  /** Of each prompt, alone or as a processor makes them; absent where the tokenizer is to make them. */
  input_ids: z.array(z.array(z.number().int())).nullish(),
  /** Of each prompt's ids: 0 where they are padding. */
  attention_mask: z.array(z.array(z.number().int())).nullish(),
  settings: z.record(z.string(), settings),
  pad_token_id: z.number().int().nullish(),
  logits: z.array(place),
  token_ids: z.array(place.extend({ settings: z.string() })),
  probs: z.array(place.extend({ settings: z.string() })),
  batches: z.array(z.object({ cases: z.array(place), arguments: settings })),
})

export type Description = z.infer<typeof description>

export interface Reference {
  description: Description
  has(name: string): boolean
  /** Throws ArtifactError `bad_reference` where the file lacks a tensor. */
  floats(name: string): Float32Array
  /** Rows of ids, the shorter ones padded at their ends. */
  ids(name: string): number[][]
}

/** Throws ArtifactError `bad_reference`, or what readSafetensors throws. */
export async function readReference(path: string): Promise<Reference> {
  const { tensors: all, metadata } = await readSafetensors(path)
  const bad = (what: string, cause?: unknown) =>
    new ArtifactError(
      'bad_reference',
      `Expected ${path} as reference/record.py writes it, or its plain form, but ${what}. Record it again.`,
      { cause },
    )
  let parsed: Description
  let tensors = all
  try {
    const words = z.record(z.string(), z.string()).parse(metadata ?? {})
    if (words['description'] !== undefined) parsed = description.parse(JSON.parse(words['description']))
    else ({ description: parsed, tensors } = fromPlain(all, words))
  } catch (cause) {
    throw bad(`its description is wrong: ${reasonOf(cause)}`, cause)
  }
  const find = (name: string) => {
    const tensor = tensors.get(name)
    if (!tensor) throw bad(`it has no ${name}`)
    return tensor
  }
  return {
    description: parsed,
    has: (name) => tensors.has(name),
    floats(name) {
      const { data } = find(name)
      if (!(data instanceof Float32Array)) throw bad(`${name} holds no floats`)
      return data
    },
    ids(name) {
      const tensor = find(name)
      if (tensor.data instanceof Float32Array || tensor.shape.length > 2)
        throw bad(`${name} holds no rows of ids`)
      return rowsOf(tensor)
    },
  }
}

/** Every name the tensors of the plain form may have. */
const PLAIN = ['pixel_values', 'vision', 'queries', 'prefix', 'logits', 'token_ids']
/** Dimensions of what is stacked by picture, the picture included. */
const RANKS = { pixel_values: 4, vision: 3, queries: 3, prefix: 3 }
/** Metadata, or keys among the settings, that say what was asked. */
const QUESTIONS = ['prompt', 'prompts', 'text']
const PICTURES = ['picture', 'pictures', 'image', 'images']
const NAMES = ['checkpoint', 'model', 'pad_token_id']
/** Objects that tell of how it was recorded. */
const REMARKS = ['versions', 'version', 'environment', 'env', 'about', 'info', 'config', 'meta']
/** Settings that may stand in the metadata by themselves; other texts and numbers there are taken for remarks. */
const SINGLE = new Set<string>([...SETTING_NAMES, ...Object.keys(NO_EFFECT)])
const KNOWN = new Set([...SINGLE, ...QUESTIONS, ...PICTURES, ...NAMES])
/** Metadata under which settings stand together; under any other name where all their keys are known. */
const TOGETHER =
  /^(gen|generate|generation)?_?(settings|config|kwargs|args|arguments|params|parameters)$|^generat(e|ion)$/

/** Everything the metadata says: what stands in its objects, then what stands by itself. */
function readMetadata(words: Record<string, string>): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const [name, text] of Object.entries(words)) {
    const value = asJson(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    if (TOGETHER.test(name) && name !== 'config') Object.assign(found, settings.parse(JSON.parse(text)))
    else if (isObject && Object.entries(value).every(([key, one]) => one === null || KNOWN.has(key)))
      Object.assign(found, value)
    else if (isObject && !REMARKS.includes(name)) {
      throw new Error(
        `its metadata has ${name}, of which the meaning is not known: settings stand under "settings"`,
      )
    }
  }
  for (const name of KNOWN) {
    const text = words[name]
    if (text !== undefined) found[name] = QUESTIONS.includes(name) ? listOrText(text) : asJson(text)
  }
  return found
}

function fromPlain(
  tensors: Map<string, WholeTensor>,
  words: Record<string, string>,
): { description: Description; tensors: Map<string, WholeTensor> } {
  if (!PLAIN.some((name) => tensors.has(name))) throw new Error(`it has none of ${PLAIN.join(', ')}`)
  const said = readMetadata(words)
  const firstOf = (names: string[]) => names.map((name) => said[name]).find((value) => value != null)
  const isSetting = (name: string) => ![...QUESTIONS, ...PICTURES, ...NAMES].includes(name)
  const used = Object.fromEntries(Object.entries(said).filter(([name]) => isSetting(name)))

  const texts = z.union([z.string().transform((text) => [text]), z.array(z.string())])
  const pictures = texts.parse(firstOf(PICTURES) ?? [])
  const stacked = Object.entries(RANKS)
    .map(([name, rank]) => ({ shape: tensors.get(name)?.shape, rank }))
    .find(({ shape }) => shape !== undefined)
  const count = stacked?.shape?.length === stacked?.rank ? (stacked?.shape?.[0] ?? pictures.length) || 1 : 1
  const [ids, mask] = ['input_ids', 'attention_mask'].map((name) => {
    const tensor = tensors.get(name)
    return tensor && rowsOf(tensor)
  })
  const asked = texts.parse(firstOf(QUESTIONS) ?? '')
  // One prompt for all pictures, one for each, or several for one picture.
  const prompts = asked.length === 1 && ids ? ids.map(() => asked[0]!) : asked
  if (prompts.length !== 1 && prompts.length !== count && count !== 1) {
    throw new Error(`it has ${prompts.length} prompts for ${count} pictures`)
  }
  const cases = Array.from({ length: Math.max(count, prompts.length) }, (_, i) => ({
    picture: count === 1 ? 0 : i,
    prompt: prompts.length === 1 ? 0 : i,
  }))

  const numbered = new Map(tensors)
  for (const name of ['logits', 'token_ids']) {
    const tensor = tensors.get(name)
    if (!tensor) continue
    for (const [i, part] of divide(tensor, cases.length).entries()) numbered.set(`${name}.${i}`, part)
  }
  return {
    tensors: numbered,
    description: description.parse({
      checkpoint: String(said['checkpoint'] ?? said['model'] ?? 'another checkpoint'),
      versions: {},
      pictures: Array.from({ length: count }, (_, i) => pictures[i] ?? ''),
      prompts,
      input_ids: ids,
      attention_mask: mask,
      settings: { plain: used },
      pad_token_id: said['pad_token_id'],
      logits: tensors.has('logits') ? cases : [],
      // What was drawn at random has no one truth.
      token_ids:
        tensors.has('token_ids') && used['do_sample'] !== true
          ? cases.map((one) => ({ ...one, settings: 'plain' }))
          : [],
      probs: [],
      batches: [],
    }),
  }
}

/** Equal parts along the first dimension; one row of ids, or one picture's logits, may come without it. */
function divide({ data, shape }: WholeTensor, count: number): WholeTensor[] {
  const [rows = 1, ...rest] = shape.length === 1 ? [1, ...shape] : shape
  if (rows % count !== 0)
    throw new Error(`${shape.join(' x ')} can't be divided among ${count} pictures or prompts`)
  const size = data.length / count
  return Array.from({ length: count }, (_, i) => ({
    shape: [rows / count, ...rest],
    data: data.slice(i * size, (i + 1) * size),
  }))
}

function rowsOf({ data, shape }: WholeTensor): number[][] {
  const length = shape.at(-1) ?? 0
  const rows = shape.length > 1 ? shape[0]! : 1
  return Array.from({ length: rows }, (_, i) =>
    Array.from(data.subarray(i * length, (i + 1) * length), Number),
  )
}

/** JSON where it is JSON, else the text: `3`, `true`, `[2, 7]`, `never`. Python writes True and None. */
function asJson(text: string): unknown {
  const json = text.replace(/^(True|False)$/, (word) => word.toLowerCase()).replace(/^None$/, 'null')
  try {
    return JSON.parse(json)
  } catch {
    return text
  }
}

/** A prompt is a text whatever it looks like, unless it is a list of texts. */
function listOrText(text: string): unknown {
  const list = z.array(z.string()).safeParse(asJson(text))
  return list.success ? list.data : text
}
