// Pictures <-> rows of an Arrow table, as LanceDB stores them.
//
//   id, sha256, size_bytes, modified_ms, date_ms, problem?, metadata?, vectors? [Q, E] float16, mean? [E] float16
//
// `mean` is the normalised mean of `vectors`. Both are null in a row that has a problem.

import { createRequire } from 'node:module'
import type { Data, Schema, Table } from 'apache-arrow'
import { z } from 'zod'
import { toHalf } from '../half.ts'
import { meanVector } from './score.ts'
import type { IndexedPicture, ModelOfVectors, Picture } from './store.ts'

/** Columns without vectors. */
export const PLAIN = ['id', 'sha256', 'size_bytes', 'modified_ms', 'date_ms', 'problem', 'metadata']

const rowSchema = z.object({
  id: z.string(),
  sha256: z.string(),
  size_bytes: z.number(),
  modified_ms: z.number(),
  date_ms: z.number(),
  problem: z.string().nullable(),
  metadata: z.string().nullable(),
})

export type Arrow = typeof import('apache-arrow')

/** LanceDB is CommonJS: its tables are of the classes that `require` gives, which are not those of `import`. */
export function loadArrow(): Arrow {
  return createRequire(import.meta.url)('apache-arrow')
}

export function pictureOf(row: object): Picture {
  const checked = rowSchema.parse(row)
  return {
    id: checked.id,
    sha256: checked.sha256,
    sizeBytes: checked.size_bytes,
    modifiedMs: checked.modified_ms,
    dateMs: checked.date_ms,
    problem: checked.problem ?? undefined,
    metadata: checked.metadata ?? undefined,
  }
}

function typesOf(arrow: Arrow, { width }: ModelOfVectors) {
  const { Field, FixedSizeList, Float16, Float64, List, Utf8 } = arrow
  const vector = new FixedSizeList(width, new Field('item', new Float16(), true))
  return {
    text: new Utf8(),
    number: new Float64(),
    vector,
    vectors: new List(new Field('item', vector, true)),
  }
}

export function schemaOf(arrow: Arrow, model: ModelOfVectors, metadata?: Map<string, string>): Schema {
  const { Field, Schema } = arrow
  const { text, number, vector, vectors } = typesOf(arrow, model)
  return new Schema(
    [
      new Field('id', text, false),
      new Field('sha256', text, false),
      new Field('size_bytes', number, false),
      new Field('modified_ms', number, false),
      new Field('date_ms', number, false),
      new Field('problem', text, true),
      new Field('metadata', text, true),
      new Field('vectors', vectors, true),
      new Field('mean', vector, true),
    ],
    metadata,
  )
}

/** Rows as LanceDB takes them. */
export function tableOf(
  arrow: Arrow,
  model: ModelOfVectors,
  pictures: readonly (Picture | IndexedPicture)[],
) {
  const { makeData, Table: ArrowTable, Vector: ArrowVector, vectorFromArray, Float16 } = arrow
  const { text, number, vector, vectors } = typesOf(arrow, model)
  const { count, width } = model
  const length = pictures.length
  const vectorsOf = (picture: Picture | IndexedPicture) =>
    'vectors' in picture ? picture.vectors : undefined
  const texts = (value: (picture: Picture) => string | undefined) =>
    vectorFromArray(
      pictures.map((picture) => value(picture) ?? null),
      text,
    )
  const numbers = (value: (picture: Picture) => number) => vectorFromArray(pictures.map(value), number)
  const halves = (data: Uint16Array) =>
    makeData({ type: new Float16(), length: data.length, nullCount: 0, data })
  const isThere = pictures.map((picture) => vectorsOf(picture) !== undefined)
  const nullCount = isThere.filter((there) => !there).length
  const nullBitmap = new Uint8Array(Math.ceil(length / 64) * 8)
  for (const [i, there] of isThere.entries()) if (there) nullBitmap[i >> 3]! |= 1 << (i & 7)

  const all = new Uint16Array((length - nullCount) * count * width)
  const means = new Uint16Array(length * width)
  const valueOffsets = new Int32Array(length + 1)
  let rows = 0
  for (const [i, picture] of pictures.entries()) {
    const own = vectorsOf(picture)
    if (own) {
      if (own.length !== count * width)
        throw new Error(`Expected ${count} vectors of ${width}, got ${own.length} numbers.`)
      all.set(own, rows * width)
      means.set(toHalf(meanVector(own, width)), i * width)
      rows += count
    }
    valueOffsets[i + 1] = rows
  }
  const child = makeData({ type: vector, length: rows, nullCount: 0, child: halves(all) })
  const list = makeData({ type: vectors, length, nullCount, nullBitmap, valueOffsets, child })
  const mean = makeData({ type: vector, length, nullCount, nullBitmap, child: halves(means) })
  return new ArrowTable(schemaOf(arrow, model), {
    id: texts(({ id }) => id),
    sha256: texts(({ sha256 }) => sha256),
    size_bytes: numbers(({ sizeBytes }) => sizeBytes),
    modified_ms: numbers(({ modifiedMs }) => modifiedMs),
    date_ms: numbers(({ dateMs }) => dateMs),
    problem: texts(({ problem }) => problem),
    metadata: texts(({ metadata }) => metadata),
    vectors: new ArrowVector([list]),
    mean: new ArrowVector([mean]),
  })
}

/** Rows of an arrow table with their vectors, copied out of its memory. */
export function rowsOf(table: Table): IndexedPicture[] {
  // Without the vectors: as part of a row each of them would become an object.
  const plain = table
    .select(PLAIN)
    .toArray()
    .map((row: { toJSON(): object }) => pictureOf(row.toJSON()))
  const column = table.getChild('vectors')
  const vectors = (column?.data ?? []).flatMap((data: Data) => {
    const list = data.children[0]
    const width = (list?.type as { listSize?: number })?.listSize ?? 0
    const values: Uint16Array = list?.children[0]?.values
    const offsets = data.valueOffsets as Int32Array
    return Array.from({ length: data.length }, (_, i) =>
      values.slice(offsets[i]! * width, offsets[i + 1]! * width),
    )
  })
  return plain.map((picture, i) => ({ ...picture, vectors: vectors[i]! }))
}
