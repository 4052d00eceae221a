// A model with a matcher -> the similarity of pictures with copies of themselves and with the nearest other picture, between
// which the threshold for duplicates belongs (docs/search.md).
//
//   npx tsx bench/duplicates.ts [--model ARTIFACT] PACK...
//
// A pack is a folder with pictures and matching.jsonl, as training/matching_pack.py writes it; its first 300 pictures are taken.
// The copies: JPEG of quality 50, 0.6 of the size, blurred.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { startEngine } from '../src/engine/engine.ts'
import { engineEmbedder } from '../src/search/embedder.ts'
import { pictureSimilarity } from '../src/search/score.ts'
import { quantile } from './traffic.ts'

const PICTURES = 300
const COPIES = [
  (picture: Buffer) => sharp(picture).jpeg({ quality: 50 }),
  (picture: Buffer, width: number) => sharp(picture).resize(Math.round(0.6 * width)),
  (picture: Buffer) => sharp(picture).blur(1.2),
]

const { values, positionals } = parseArgs({ options: { model: { type: 'string' } }, allowPositionals: true })
const room = await mkdtemp(join(tmpdir(), 'glimpse-bench-duplicates-'))
const engine = await startEngine({ artifact: values.model ?? (await embeddedArtifact(room)) })
try {
  const embedder = await engineEmbedder(engine, 1)
  for (const pack of positionals) {
    const lines = (await readFile(join(pack, 'matching.jsonl'), 'utf8')).trim().split('\n').slice(0, PICTURES)
    const files = lines.map((line) => join(pack, (JSON.parse(line) as { file: string }).file))
    const vectors: Uint16Array[] = []
    const ofCopies: number[] = []
    for (const file of files) {
      const picture = await readFile(file)
      const { width } = await sharp(picture).metadata()
      const own = await embedder.embedPicture(picture)
      vectors.push(own)
      for (const copy of COPIES) {
        const other = await embedder.embedPicture(await copy(picture, width).toBuffer())
        ofCopies.push(pictureSimilarity(own, other, embedder.model.count))
      }
    }
    const ofNearest = vectors.map((one) =>
      Math.max(
        ...vectors
          .filter((other) => other !== one)
          .map((other) => pictureSimilarity(one, other, embedder.model.count)),
      ),
    )
    console.log(
      `${pack}: copies from ${quantile(0.01, ofCopies).toFixed(3)} (1st percentile), nearest other up to ${quantile(0.99, ofNearest).toFixed(3)} (99th)`,
    )
  }
} finally {
  await engine.close()
  await rm(room, { recursive: true })
}
