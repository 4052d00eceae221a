// A checkpoint's folder -> what a build needs of it besides its weights: the plan of its model, how pictures are resized, its
// tokenizers, what it says of itself. All of it is checked before a weight is read.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { ModelDescription } from '../artifact/contract.ts'
import { parseJson, readBytes, readJson, readText } from '../checkpoint/files.ts'
import type { TensorFiles } from '../checkpoint/safetensors.ts'
import { Weights } from '../checkpoint/weights.ts'
import { ArtifactError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { PICTURE_RULE, parsePreprocessorConfig } from '../image/pixels.ts'
import type { ModelPlan, TokenizerFiles } from '../model/architecture.ts'
import { planModel } from '../model/architectures.ts'
import type { Graph } from '../onnx/graph.ts'
import type { WrittenFile } from '../onnx/write.ts'
import { formatOf, type Precision, rulesOf, type Target } from '../quantize/recipes.ts'
import { openTokenizer, TOKENIZER_FILES, type Tokenizer } from '../tokens/tokenizer.ts'

export interface Checkpoint {
  plan: ModelPlan
  configText: string
  /** Content of config.json. */
  config: unknown
  /** Content of preprocessor_config.json. */
  preprocessor: unknown
  /** Content of words.json. */
  about?: Record<string, unknown>
  /** What words.json says of conversations. */
  known: z.output<typeof wordsSchema>
}

/** With `untied`, the LM head has weights of its own, whatever config.json says. @throws ArtifactError */
export async function readCheckpoint(folder: string, untied = false): Promise<Checkpoint> {
  const configText = await readText(folder, 'config.json')
  if (configText === undefined) {
    throw new ArtifactError(
      'no_checkpoint',
      `${folder} has no config.json. Give the folder of a Hugging Face checkpoint, with config.json and *.safetensors.`,
    )
  }
  const config = parseJson(configText, 'config.json')
  const plan = planModel(config, { untied })
  const preprocessor = await readPreprocessor(folder)
  checkPictures(plan.description, preprocessor)
  for (const tokenizer of plan.tokenizers) {
    checkVocabulary(tokenizer, await openTokenizer(join(folder, tokenizer.folder)))
  }
  const about = await readAbout(folder)
  return { plan, configText, config, preprocessor, about, known: wordsSchema.parse(about ?? {}) }
}

/** The graphs of a model, whose weights are read when they are written. */
export function graphsOf(plan: ModelPlan, files: TensorFiles, precision: Precision, target?: Target) {
  const rules = rulesOf(plan.recipe, precision, target)
  const graphs = plan.build(new Weights(files, (path) => formatOf(rules, precision, path)))
  return { rules, graphs }
}

/** The size of all weights of these graphs. */
export function bytesOf(graphs: readonly Graph[]): number {
  return graphs.flatMap(({ parts }) => parts.initializers).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

/** transformers 5 saves it inside processor_config.json, and reads it there first. */
async function readPreprocessor(checkpoint: string): Promise<unknown> {
  const nested = Object(await readJson(checkpoint, 'processor_config.json'))['image_processor']
  const found = nested ?? (await readJson(checkpoint, 'preprocessor_config.json'))
  if (found !== undefined) return found
  throw new ArtifactError(
    'no_preprocessor',
    `${checkpoint} has no ${PICTURE_RULE}, which says how pictures are resized. Download it from the checkpoint's repository.`,
  )
}

function checkPictures({ vision }: ModelDescription, preprocessor: unknown): void {
  const { width, height, do_resize } = parsePreprocessorConfig(preprocessor)
  const [rows, columns] = vision.image
  if (do_resize && height === rows && width === columns) return
  const found = do_resize ? `resizes pictures to ${width}x${height}` : 'has do_resize false'
  throw new ArtifactError(
    'bad_config',
    `${PICTURE_RULE} ${found}; vision_config in config.json expects pictures of ${columns}x${rows}. Use the files of one checkpoint.`,
  )
}

/** Published checkpoints pad the embeddings, so vocab_size may be larger than the tokenizer, but not smaller. */
function checkVocabulary({ vocabulary }: TokenizerFiles, { vocabularySize }: Tokenizer): void {
  if (vocabularySize <= vocabulary) return
  throw new ArtifactError(
    'bad_tokenizer',
    `The tokenizer has token ids up to ${vocabularySize - 1}; vocab_size in config.json is ${vocabulary}. Use the files of one checkpoint.`,
  )
}

/** Copies a tokenizer's files. */
export async function copyTokenizer(
  { folder, prefix }: TokenizerFiles,
  from: string,
  to: string,
): Promise<WrittenFile[]> {
  const copied: WrittenFile[] = []
  for (const name of TOKENIZER_FILES) {
    const bytes = await readBytes(join(from, folder), name)
    if (bytes === undefined) continue
    const path = `${prefix}${name}`
    await writeFile(join(to, path), bytes)
    copied.push({ path, sizeBytes: bytes.length, sha256: sha256Hex(bytes) })
  }
  return copied
}

/** What words.json says of conversations. A value of another type counts as absent. */
const wordsSchema = z
  .object({
    /** Most earlier turns that the model was trained to read. */
    turns: z.number().int().nonnegative().optional().catch(undefined),
    unknown_caption: z.string().optional().catch(undefined),
    unknown_answer: z.string().optional().catch(undefined),
  })
  .transform(({ turns, unknown_caption, unknown_answer }) => ({
    turns,
    unknown: [unknown_caption, unknown_answer].flatMap((text) => text?.toLowerCase() || []),
  }))

async function readAbout(checkpoint: string): Promise<Record<string, unknown> | undefined> {
  const about = await readJson(checkpoint, 'words.json')
  if (about === undefined) return undefined
  const words = z.record(z.string(), z.unknown()).safeParse(about)
  if (words.success) return words.data
  throw new ArtifactError('bad_config', 'words.json does not hold a JSON object. Correct or remove it.')
}
