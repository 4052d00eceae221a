// A user's own file of pictures with captions or questions -> what models say about them, side by side.
//
//   .jsonl   {"image": "a.jpg", "caption": "..."} or {"image": "a.jpg", "question": "...", "answer": "..."} on each line
//   .csv     columns of the same names; several right texts are separated by |
//
// Pictures are found beside the file. Texts are compared as in VQA: without case, punctuation and articles.

import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import Papa from 'papaparse'
import { z } from 'zod'
import type { Engine } from '../engine/engine.ts'
import { isGlimpseError, SetupError } from '../errors.ts'
import { readPicture } from './reply.ts'

interface Row {
  image: string
  /** Absent for a caption. */
  question?: string
  /** Any of these texts is right. */
  right: string[]
}

/** What a model says to a row; undefined when the picture could not be read. */
export interface Said {
  text: string
  ms: number
}

const texts = z.union([
  z
    .string()
    .min(1)
    .transform((text) => [text]),
  z.array(z.string().min(1)).min(1),
])
const line = z.union([
  z.object({ image: z.string().min(1), question: z.string().min(1), answer: texts }),
  z.object({ image: z.string().min(1), caption: texts }),
])

/** @throws SetupError `no_scenes` or `bad_scenes` */
export async function readOwnSet(path: string): Promise<Row[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new SetupError('no_scenes', `Cannot read ${path}. Expected a .csv or .jsonl file.`, { cause })
  })
  const records = path.endsWith('.csv') ? recordsOfCsv(text) : text.split('\n').map(jsonOf)
  const rows = records.flatMap((record, index) => (record === undefined ? [] : rowOf(path, record, index)))
  if (rows.length > 0) return rows
  throw new SetupError(
    'bad_scenes',
    `${path} has no rows. Expected image and caption, or question and answer.`,
  )
}

function rowOf(path: string, record: unknown, index: number): Row[] {
  const { success, data } = line.safeParse(record)
  if (!success) {
    const message = `Expected image and caption, or image, question and answer, in row ${index + 1} of ${path} but got ${JSON.stringify(record)?.slice(0, 200)}. Correct that row.`
    throw new SetupError('bad_scenes', message)
  }
  const image = resolve(dirname(path), data.image)
  return 'question' in data
    ? [{ image, question: data.question, right: data.answer }]
    : [{ image, right: data.caption }]
}

/** Undefined for an empty line. */
function jsonOf(text: string): unknown {
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Records by the names of the first line. Empty cells and lines are left out. */
function recordsOfCsv(text: string): unknown[] {
  const { data } = Papa.parse<Record<string, string>>(text, {
    header: true,
    skipEmptyLines: 'greedy',
    transformHeader: (name) => name.trim().toLowerCase(),
  })
  return data.map((record) => {
    const filled = Object.entries(record).filter(([, cell]) => cell.trim() !== '')
    const several = (name: string, cell: string) =>
      ['caption', 'answer'].includes(name) ? cell.split('|') : cell
    return Object.fromEntries(filled.map(([name, cell]) => [name, several(name, cell)]))
  })
}

/** Asks a model about each row. A picture that cannot be read is reported on standard error and left out. */
export async function askAll(
  engine: Engine,
  rows: readonly Row[],
  signal: AbortSignal,
  onRow: (done: number) => void,
): Promise<(Said | undefined)[]> {
  const said: (Said | undefined)[] = []
  for (const { image, question } of rows) {
    try {
      const { text, timings_ms } = await engine.answer(
        { image: await readPicture(image), question },
        { signal },
      )
      said.push({ text, ms: timings_ms.total })
    } catch (error) {
      if (!isGlimpseError(error) || error.kind !== 'request') throw error
      process.stderr.write(`glimpse: ${image}: ${error.message}\n`)
      said.push(undefined)
    }
    onRow(said.length)
  }
  return said
}

export interface OwnReport {
  set: string
  model: string
  captions: { right: number; asked: number; word_overlap: number | null }
  questions: { right: number; asked: number }
  /** Rows with the same text as the first model's. */
  same_as_first: number
  median_ms: number | null
  rows: { image: string; question?: string; expected: string[]; got: string }[]
}

/** How right a model is, and how often it says what the first model says. */
export function reportOf(
  set: string,
  model: string,
  rows: readonly Row[],
  said: readonly (Said | undefined)[],
  first: readonly (Said | undefined)[],
): OwnReport {
  const answered = rows.flatMap((row, i) => (said[i] ? [{ row, ...said[i], first: first[i]?.text }] : []))
  const counted = (isCaption: boolean) => {
    const some = answered.filter(({ row }) => (row.question === undefined) === isCaption)
    const right = some.filter(({ row, text }) => row.right.some((one) => wordsOf(one) === wordsOf(text)))
    return { some, right: right.length, asked: some.length }
  }
  const [captions, questions] = [counted(true), counted(false)]
  const overlaps = captions.some.map(({ row, text }) =>
    Math.max(...row.right.map((one) => overlap(one, text))),
  )
  const times = answered.map(({ ms }) => ms).sort((a, b) => a - b)
  return {
    set,
    model,
    captions: {
      right: captions.right,
      asked: captions.asked,
      word_overlap: overlaps.length > 0 ? overlaps.reduce((sum, one) => sum + one) / overlaps.length : null,
    },
    questions: { right: questions.right, asked: questions.asked },
    same_as_first: answered.filter(({ text, first }) => text === first).length,
    median_ms: times[Math.floor(times.length / 2)] ?? null,
    rows: answered.map(({ row: { image, question, right }, text }) => ({
      image,
      ...(question !== undefined && { question }),
      expected: right,
      got: text,
    })),
  }
}

/** A column for each model. */
export function tableOf(reports: readonly OwnReport[]): string {
  const [{ set, rows }] = reports as [OwnReport, ...OwnReport[]]
  const row = (name: string, cellOf: (report: OwnReport) => string) =>
    `  ${name.padEnd(24)}${reports.map((report) => cellOf(report).padStart(16)).join('')}`
  const share = ({ right, asked }: { right: number; asked: number }) =>
    asked === 0 ? '-' : `${right} of ${asked}`
  return [
    `${set}: ${rows.length} rows`,
    row('', ({ model }) => model.slice(-15)),
    row('captions right', ({ captions }) => share(captions)),
    row('  shared words (F1)', ({ captions }) => captions.word_overlap?.toFixed(2) ?? '-'),
    row('answers right', ({ questions }) => share(questions)),
    row('same text as the first', (report) =>
      share({ right: report.same_as_first, asked: report.rows.length }),
    ),
    row('median time', ({ median_ms }) => (median_ms === null ? '-' : `${Math.round(median_ms)} ms`)),
    '',
  ].join('\n')
}

/** Without case, punctuation and articles. */
function wordsOf(text: string): string {
  const words = text.toLowerCase().replace(/[^\p{L}\p{N}\s]/gu, ' ')
  return words
    .split(/\s+/)
    .filter((word) => !['', 'a', 'an', 'the'].includes(word))
    .join(' ')
}

/** F1 of the words of two texts: 2 x shared / all. */
function overlap(one: string, other: string): number {
  const [a, b] = [wordsOf(one).split(' '), wordsOf(other).split(' ')]
  const left = [...b]
  const shared = a.filter((word) => {
    const at = left.indexOf(word)
    if (at >= 0) left.splice(at, 1)
    return at >= 0
  })
  return (2 * shared.length) / (a.length + b.length)
}
