// Makes a small artifact that cannot be run, in a bucket: random files with the sizes and checksums of its manifest.

import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FORMAT, type Manifest } from '../../src/artifact/contract.ts'
import { createRng } from '../../src/run/sampling.ts'
import { GLIMPSE_VERSION, ONNXRUNTIME_VERSION } from '../../src/versions.ts'
import type { S3Double } from '../store/s3-double.ts'

export type Files = Map<string, Buffer>

/** File sizes in ranges of 64 KiB: three, two and a half, less than one, and empty. */
export const PIECE_BYTES = 64 * 1024
const SIZES = { 'language.data': 3, 'vision.data': 2.5, 'tokenizer.json': 0.1, 'language.onnx': 0 }

/** Returns random files of these sizes, in ranges, and their manifest. */
export function makeModel(seed = 1, sizes: Readonly<Record<string, number>> = SIZES): Files {
  const random = createRng(seed)
  const files: Files = new Map()
  for (const [path, pieces] of Object.entries(sizes)) {
    const bytes = Buffer.alloc(Math.floor(pieces * PIECE_BYTES))
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(256 * random())
    files.set(path, bytes)
  }
  files.set('manifest.json', Buffer.from(JSON.stringify(manifestOf(files, `model ${seed}`))))
  return files
}

export function manifestOf(files: Files, name: string): Manifest {
  return {
    format: FORMAT,
    name,
    source: { checkpoint: name, config_sha256: '', weight_bytes: 0 },
    architecture: 'blip2-opt',
    tasks: ['caption', 'answer'],
    graphs: ['vision', 'queries', 'language'].map((graph) => ({
      name: graph,
      inputs: [],
      outputs: [],
    })),
    vision: { image: [1, 1], patches: 1, width: 1 },
    queries: { count: 1, width: 1, reads_text: false, text: null },
    language: {
      kind: 'decoder',
      width: 1,
      vocabulary: 1,
      layers: 1,
      heads: 1,
      head_size: 1,
      positions: 1,
      bos_token_id: 0,
      pad_token_id: null,
      eos_token_id: [],
      image_token_id: null,
    },
    prompt: { caption: '', question: '{question}', turn: '{question} {answer}', turns: null },
    generation: {},
    presets: {},
    unknown: [],
    precision: 'int8',
    recipe: [],
    preprocessor: {},
    files: [...files].map(([path, bytes]) => ({
      path,
      sizeBytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    })),
    versions: { glimpse: GLIMPSE_VERSION, onnxruntime: ONNXRUNTIME_VERSION },
  }
}

/** Puts the files into the bucket. */
export function upload(s3: S3Double, files: Files, prefix = 'model'): void {
  for (const [path, bytes] of files) s3.put(`${prefix}/${path}`, bytes)
}

/** Returns the files with an edited manifest. */
export function withManifest(files: Files, edit: (manifest: Manifest) => unknown): Files {
  const manifest = JSON.parse(files.get('manifest.json')!.toString()) as Manifest
  edit(manifest)
  return new Map(files).set('manifest.json', Buffer.from(JSON.stringify(manifest)))
}

export async function writeModel(folder: string, files: Files): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [path, bytes] of files) await writeFile(join(folder, path), bytes)
}

export const credentials = (s3: S3Double) => ({
  endpoint: s3.endpoint,
  region: 'eu-central-1',
  forcePathStyle: true,
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
})
