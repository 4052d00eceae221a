// A safetensors file of what transformers computed for one picture and one text -> a checked reference: its kind, picture,
// text, arguments of generate, and tensors. docs/models.md describes the form; reference/record.py writes it.

import { z } from 'zod'
import { reasonOf } from '../checkpoint/files.ts'
import { readSafetensors, shapeText, type WholeTensor } from '../checkpoint/safetensors.ts'
import { ArtifactError } from '../errors.ts'
import { SETTING_NAMES } from './generate-arguments.ts'

const PICTURE = { pixel_values: '1 3 H W', vision: '1 P v', queries: '1 Q q' }

/**
 * The tensors of each kind, all optional, with their dims: numbers, and letters that have one value in a file. Those whose
 * name ends in `ids` hold ids, the others floats.
 */
const TENSORS = {
  generate: {
    ...PICTURE,
    prefix: '1 Q d',
    input_ids: '1 L',
    qformer_ids: '1 T',
    encoder: '1 S d',
    decoder_ids: '1 t',
    logits: '1 K V',
    // The second form: several returned sequences, padded at their end.
    token_ids: 'n | R n',
  },
  itm: {
    ...PICTURE,
    text_ids: '1 T',
    text_hidden: '1 T q',
    multimodal: '1 Q q',
    itm_logits: '1 2',
    itc: '1 1',
    image_embeds: '1 Q e',
    text_embeds: '1 e',
    text_embeds_all: '1 T e',
  },
  matrix: { itm_logits: 'I T 2', itc: 'I T' },
  features: { ...PICTURE, pooled: '1 v', input_ids: '1 L', text_features: '1 L d' },
}

export type Kind = keyof typeof TENSORS

export interface Reference {
  path: string
  kind: Kind
  /** The name of the recorded checkpoint, if the file has it. */
  checkpoint?: string
  /** File name of the picture; undefined if the file names none. */
  image?: string
  /** Prompt of `generate`, or the text of another kind; undefined if the file has only its ids. */
  prompt?: string
  /** Of a matrix: file names of its pictures, and its texts. */
  images: readonly string[]
  texts: readonly string[]
  /** Arguments of transformers' `generate`. */
  generation: Record<string, unknown>
  /** Tensors of the kind, by name. */
  tensors: ReadonlyMap<string, WholeTensor>
  /** The values of the letters in the kind's dims. */
  sizes: ReadonlyMap<string, number>
}

/** @throws ArtifactError `bad_reference`, and the errors of readSafetensors. */
export async function readReference(path: string): Promise<Reference> {
  const { tensors: all, metadata } = await readSafetensors(path)
  const words = z.record(z.string(), z.string()).safeParse(metadata ?? {})
  if (!words.success) throw badReference(path, `its metadata is not all strings: ${reasonOf(words.error)}`)
  const { kind = 'generate', checkpoint, image, prompt, generation = '{}', images, texts } = words.data
  if (!isKind(kind))
    throw badReference(path, `its kind is "${kind}", not one of ${Object.keys(TENSORS).join(', ')}`)
  const stray = Object.keys(words.data).filter((name) => SETTING_NAMES.includes(name))
  if (stray.length > 0) throw badReference(path, `its metadata has ${stray.join(', ')} outside "generation"`)
  const tensors = new Map<string, WholeTensor>()
  const sizes = new Map<string, number>()
  for (const [name, dims] of Object.entries(TENSORS[kind])) {
    const tensor = all.get(name)
    if (!tensor) continue
    const problem = problemWith(name, tensor, dims, sizes)
    if (problem) throw badReference(path, problem)
    tensors.set(name, tensor)
  }
  if (tensors.size === 0) throw badReference(path, `it has none of ${Object.keys(TENSORS[kind]).join(', ')}`)
  return {
    path,
    kind,
    checkpoint,
    image: image || undefined,
    prompt,
    images: parseList(path, 'images', images),
    texts: parseList(path, 'texts', texts),
    generation: parseGeneration(path, generation),
    tensors,
    sizes,
  }
}

export function badReference(path: string, what: string, cause?: unknown): ArtifactError {
  const message = `The reference ${path} cannot be used: ${what}. Record it again with reference/record.py; docs/models.md describes the form.`
  return new ArtifactError('bad_reference', message, { cause })
}

/** Rows of ids; ids without a row dimension are one row. */
export function rowsOf({ data, shape }: WholeTensor): number[][] {
  const length = shape.at(-1) ?? 0
  const rows = shape.length > 1 ? shape[0]! : 1
  return Array.from({ length: rows }, (_, i) =>
    Array.from(data.subarray(i * length, (i + 1) * length), Number),
  )
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(TENSORS, kind)
}

function parseGeneration(path: string, text: string): Record<string, unknown> {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text))
  } catch (cause) {
    throw badReference(path, `its generation is not a JSON object: ${reasonOf(cause)}`, cause)
  }
}

/** An absent list is empty. */
function parseList(path: string, name: string, text = '[]'): string[] {
  try {
    return z.array(z.string()).parse(JSON.parse(text))
  } catch (cause) {
    throw badReference(path, `its ${name} is not a JSON list of texts: ${reasonOf(cause)}`, cause)
  }
}

/** What is wrong with a tensor, if anything. Adds to `sizes` the letters that it is the first to have. */
function problemWith(
  name: string,
  { data, shape }: WholeTensor,
  forms: string,
  sizes: Map<string, number>,
): string | undefined {
  const expected = name.endsWith('ids') ? 'ids' : 'floats'
  const found = data instanceof Float32Array ? 'floats' : 'ids'
  if (found !== expected) return `${name} holds ${found} in place of ${expected}`
  const dims = forms
    .split(' | ')
    .map((form) => form.split(' '))
    .find(({ length }) => length === shape.length)
  const isRight = dims?.every((dim, i) => {
    if (!sizes.has(dim)) sizes.set(dim, /^\d+$/.test(dim) ? Number(dim) : shape[i]!)
    return sizes.get(dim) === shape[i]
  })
  if (isRight) return undefined
  const known = [...sizes].filter(([dim]) => dims?.includes(dim) && !/^\d+$/.test(dim))
  const where = known.length > 0 ? ` with ${known.map((pair) => pair.join(' = ')).join(', ')}` : ''
  return `expected ${name} as [${forms.replaceAll(' | ', '] or [').replaceAll(/ (?!or )/g, ', ')}]${where} but got ${shapeText(shape)}`
}
