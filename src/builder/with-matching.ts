// A checkpoint that generates and one that matches -> the graphs of both, behind one vision tower.
//
// LAVIS trained the models of BLIP-2 behind one frozen tower; only its last norm, `post_layernorm`, was trained with each. So
// a picture goes through the layers once, and each norm is an output of the graph `vision`. Towers that differ elsewhere are
// refused: two artifacts, in two processes, do the same as an artifact with two towers would.

import { basename } from 'node:path'
import { z } from 'zod'
import type { Manifest, ModelDescription } from '../artifact/contract.ts'
import { VISION } from '../artifact/contract.ts'
import { openSafetensors, shapeText, type TensorEntry, type TensorFiles } from '../checkpoint/safetensors.ts'
import { Weights } from '../checkpoint/weights.ts'
import { ArtifactError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { parsePreprocessorConfig } from '../image/pixels.ts'
import { addMatchingNorm, visionConfig } from '../model/vision.ts'
import type { Graph } from '../onnx/graph.ts'
import type { WrittenFile } from '../onnx/write.ts'
import { toFloat32 } from '../quantize/kernels.ts'
import type { Precision, Rule, Target } from '../quantize/recipes.ts'
import { type Checkpoint, copyTokenizer, graphsOf, readCheckpoint } from './checkpoint.ts'

const TOWER = 'vision_model.'
const LAST_NORM = `${TOWER}post_layernorm.`

/** What a build writes. */
interface Parts {
  rules: readonly Rule[]
  graphs: readonly Graph[]
}

export interface Matching {
  /** Of both models. */
  description: ModelDescription
  about?: Record<string, unknown>
  source: NonNullable<Manifest['source']['matching']>
  sizeBytes: number
  /** The graphs and rules of both, in the order data passes through them. */
  join(main: Parts, precision: Precision, target?: Target): Parts
  copyTokenizers(to: string): Promise<WrittenFile[]>
}

/**
 * `folder`: the checkpoint that matches; without a tower of its own it has that of `main`. `main` generates.
 * @throws ArtifactError `cannot_join`, and the errors of reading a checkpoint
 */
export async function openMatching(
  folder: string,
  main: Checkpoint,
  mainFiles: TensorFiles,
): Promise<Matching> {
  const own = await readCheckpoint(folder)
  const cannot = (why: string) =>
    new ArtifactError(
      'cannot_join',
      `${folder} cannot be built into one artifact with the other checkpoint: ${why}`,
    )
  if (main.plan.description.matching || !own.plan.description.matching) {
    throw cannot(
      'expected one that generates, and with --with one that matches (Blip2ForImageTextRetrieval).',
    )
  }
  const settings = [main, own].map((one) => [
    parsePreprocessorConfig(one.preprocessor),
    z.object({ vision_config: visionConfig.prefault({}) }).parse(one.config),
  ])
  if (JSON.stringify(settings[0]) !== JSON.stringify(settings[1])) {
    throw cannot('their vision_config, or how they resize pictures, differs. Build each for itself.')
  }
  const ownFiles = await openSafetensors(folder)
  const names = [...ownFiles.entries.keys()].filter((name) => name.startsWith(TOWER))
  const shared = towerOf(mainFiles)
  const files = names.length === 0 ? joined(ownFiles, mainFiles, shared) : ownFiles
  const differing = await differingTensors(files, mainFiles, shared)
  const norms = differing.filter((name) => name.startsWith(LAST_NORM))
  if (differing.length > norms.length || (names.length > 0 && names.length !== shared.length)) {
    const first = differing.find((name) => !name.startsWith(LAST_NORM)) ?? 'the names of its tensors'
    throw cannot(
      `their vision towers differ (${first}), so each needs its own. Build each for itself, and run one process for each.`,
    )
  }
  const { plan } = own
  const { description } = main.plan
  return {
    description: {
      ...description,
      matching: plan.description.matching,
      tasks: [...new Set([...description.tasks, ...plan.description.tasks])],
    },
    about: own.about,
    source: { checkpoint: basename(folder), config_sha256: sha256Hex(own.configText) },
    sizeBytes: ownFiles.sizeBytes,
    join({ rules, graphs }, precision, target) {
      const built = graphsOf(plan, files, precision, target)
      const [vision, ...rest] = graphs
      if (vision!.parts.name !== VISION.graph) throw new Error('Expected the graph vision first.')
      if (norms.length > 0) {
        const { vision_config } = z.object({ vision_config: visionConfig.prefault({}) }).parse(own.config)
        addMatchingNorm(vision!, new Weights(files, () => ({ kind: 'float32' })), vision_config)
      }
      const known = new Set(rules.map(({ weights }) => weights.source))
      return {
        rules: [...rules, ...built.rules.filter(({ weights }) => !known.has(weights.source))],
        graphs: [vision!, ...built.graphs.filter(({ parts }) => parts.name !== VISION.graph), ...rest],
      }
    },
    async copyTokenizers(to) {
      const copied: WrittenFile[] = []
      for (const one of plan.tokenizers) copied.push(...(await copyTokenizer(one, folder, to)))
      return copied
    },
  }
}

function towerOf({ entries }: TensorFiles): string[] {
  return [...entries.keys()].filter((name) => name.startsWith(TOWER))
}

/** The tensors of `own`, and those of `main` with these names. */
function joined(own: TensorFiles, main: TensorFiles, names: readonly string[]): TensorFiles {
  const borrowed = new Set<TensorEntry>(names.map((name) => main.entries.get(name)!))
  const entries = new Map(own.entries)
  for (const entry of borrowed) entries.set(entry.name, entry)
  return { ...own, entries, rows: (entry) => (borrowed.has(entry) ? main.rows(entry) : own.rows(entry)) }
}

/** Those of these tensors that are not the same float32 numbers in both, in whatever format each is stored. */
async function differingTensors(a: TensorFiles, b: TensorFiles, names: readonly string[]): Promise<string[]> {
  const differing: string[] = []
  for (const name of names) {
    const [one, two] = [a.entries.get(name), b.entries.get(name)]
    if (one === two) continue
    const isSame = one && two && shapeText(one.shape) === shapeText(two.shape)
    if (!isSame || !(await haveEqualValues(a.rows(one), b.rows(two)))) differing.push(name)
  }
  return differing
}

type Rows = ReturnType<TensorFiles['rows']>

async function haveEqualValues(ones: Rows, twos: Rows): Promise<boolean> {
  let [one, two] = [Buffer.alloc(0), Buffer.alloc(0)]
  try {
    while (true) {
      one = one.length > 0 ? one : await next(ones)
      two = two.length > 0 ? two : await next(twos)
      // Chunks end in different places where the two are stored in different formats.
      const length = Math.min(one.length, two.length)
      if (length === 0) return one.length === two.length
      if (Buffer.compare(one.subarray(0, length), two.subarray(0, length)) !== 0) return false
      one = one.subarray(length)
      two = two.subarray(length)
    }
  } finally {
    await Promise.all([ones.return(undefined), twos.return(undefined)])
  }
}

/** The next values as float32; empty at the end. */
async function next(rows: Rows): Promise<Buffer<ArrayBuffer>> {
  const { value, done } = await rows.next()
  return done ? Buffer.alloc(0) : Buffer.from(toFloat32(value))
}
