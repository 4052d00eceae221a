// A safetensors file of what transformers computed with a checkpoint -> a description of its cases, and their tensors.
//
// Two forms are read. reference/record.py writes many cases into one file and describes them in JSON in its metadata. The
// plain form is one case, or one for each picture: any of `pixel_values`, `vision`, `queries`, `prefix`, `logits` and
// `token_ids`; in the metadata `prompt` and the arguments of generate, as one JSON object or one by one. It is converted
// to a description. Metadata that may hold an unknown setting is an error: ignored, it would look like a wrong answer.

import { z } from 'zod'
import { reasonOf } from '../checkpoint/files.ts'
import { readSafetensors, type WholeTensor } from '../checkpoint/safetensors.ts'
import { ArtifactError } from '../errors.ts'
import { NO_EFFECT, SETTING_NAMES } from './generate-arguments.ts'

/** Indices into the description's lists of pictures and prompts. */
const place = z.object({ picture: z.number().int(), prompt: z.number().int() })
const settings = z.record(z.string(), z.unknown())

const description = z.object({
  checkpoint: z.string(),
  /** File names. */
  pictures: z.array(z.string()),
  prompts: z.array(z.string()),
  /** For each prompt, with or without placeholders and padding; absent if the tokenizer encodes the prompts. */
  input_ids: z.array(z.array(z.number().int())).nullish(),
  /** For each id of each prompt, 0 if it is padding. */
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
  /** @throws ArtifactError `bad_reference` if the file lacks the tensor. */
  floats(name: string): Float32Array
  /** Rows of ids, padded at the end. @throws ArtifactError `bad_reference` if the file lacks the tensor. */
  ids(name: string): number[][]
}

/** @throws ArtifactError `bad_reference`, and the errors of readSafetensors. */
export async function readReference(path: string): Promise<Reference> {
  const { tensors: all, metadata } = await readSafetensors(path)
  const bad = (what: string, cause?: unknown) =>
    new ArtifactError(
      'bad_reference',
      `${path} is not a reference: ${what}. Expected a file of reference/record.py, or the plain form. Record it again.`,
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

/** Tensors of the plain form. */
const PLAIN = ['pixel_values', 'vision', 'queries', 'prefix', 'logits', 'token_ids']
/** Numbers of dimensions of the tensors whose first dimension is the picture. */
const RANKS = { pixel_values: 4, vision: 3, queries: 3, prefix: 3 }
/** Names of the prompt, of picture files and of other facts, in the metadata or among the settings. */
const QUESTIONS = ['prompt', 'prompts', 'text']
const PICTURES = ['picture', 'pictures', 'image', 'images']
const NAMES = ['checkpoint', 'model', 'pad_token_id']
/** Names of objects that describe the recording and hold no setting. */
const REMARKS = ['versions', 'version', 'environment', 'env', 'about', 'info', 'config', 'meta']
/** Names with a meaning. Other texts and numbers in the metadata are ignored. */
const FACTS = [...QUESTIONS, ...PICTURES, ...NAMES]
const KNOWN = new Set<string>([...SETTING_NAMES, ...Object.keys(NO_EFFECT), ...FACTS])
/** Names of an object of settings. An object under any other name holds settings if all its keys are known. */
const SETTINGS_OBJECT =
  /^(gen|generate|generation)?_?(settings|config|kwargs|args|arguments|params|parameters)$|^generat(e|ion)$/

/** All facts and settings of the metadata. A single entry takes precedence over one in an object. */
function readMetadata(words: Record<string, string>): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const [name, text] of Object.entries(words)) {
    const value = asJson(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    if (SETTINGS_OBJECT.test(name) && name !== 'config')
      Object.assign(found, settings.parse(JSON.parse(text)))
    else if (isObject && Object.entries(value).every(([key, one]) => one === null || KNOWN.has(key)))
      Object.assign(found, value)
    else if (isObject && !REMARKS.includes(name)) {
      throw new Error(
        `its metadata has ${name}, an object that is not known; settings belong under "settings"`,
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
  const metadata = readMetadata(words)
  const firstOf = (names: string[]) => names.map((name) => metadata[name]).find((value) => value != null)
  const given = Object.fromEntries(Object.entries(metadata).filter(([name]) => !FACTS.includes(name)))

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
  const questions = texts.parse(firstOf(QUESTIONS) ?? '')
  // One prompt for all pictures, one for each picture, or several for one picture.
  const prompts = questions.length === 1 && ids ? ids.map(() => questions[0]!) : questions
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
      checkpoint: String(metadata['checkpoint'] ?? metadata['model'] ?? 'another checkpoint'),
      pictures: Array.from({ length: count }, (_, i) => pictures[i] ?? ''),
      prompts,
      input_ids: ids,
      attention_mask: mask,
      settings: { plain: given },
      pad_token_id: metadata['pad_token_id'],
      logits: tensors.has('logits') ? cases : [],
      // Sampled tokens are not comparable.
      token_ids:
        tensors.has('token_ids') && given['do_sample'] !== true
          ? cases.map((one) => ({ ...one, settings: 'plain' }))
          : [],
      probs: [],
      batches: [],
    }),
  }
}

/** Equal parts along the first dimension. A single row of ids has no such dimension. */
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

/** The value of JSON text (`3`, `true`, `[2, 7]`), else the text (`never`). Python writes True, False and None. */
function asJson(text: string): unknown {
  const json = text.replace(/^(True|False)$/, (word) => word.toLowerCase()).replace(/^None$/, 'null')
  try {
    return JSON.parse(json)
  } catch {
    return text
  }
}

/** A prompt is a text even if it is JSON, except for a list of texts. */
function listOrText(text: string): unknown {
  const list = z.array(z.string()).safeParse(asJson(text))
  return list.success ? list.data : text
}
