// A file of rows, one for each picture: JSON lines or CSV. Each row is written at once, so a killed process loses none that is
// done; an unfinished last row is cut off when the file is opened again.

import { closeSync, existsSync, openSync, renameSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import Papa from 'papaparse'
import { z } from 'zod'
import { SetupError } from '../errors.ts'

/** What is known of a picture. Other fields of a file that a person edited are kept. */
const rowSchema = z.looseObject({
  image: z.string(),
  /** The alt text. Absent after an error. */
  text: z.string().optional(),
  /** The text says that the model does not know: it is no alt text. */
  unknown: z.literal(true).optional(),
  /** Name of the model. */
  model: z.string().optional(),
  /** sha256 of the file that was read. Absent if it could not be. */
  sha256: z.string().optional(),
  /** Equal for texts of the same model, precision, prompt and settings. */
  made_by: z.string().optional(),
  /** With --write: where the text is. `kept`: a person's text is there instead. */
  written: z.enum(['sidecar', 'xmp', 'kept']).optional(),
  /** sha256 of the file with the text in it. */
  written_sha256: z.string().optional(),
  error_code: z.string().optional(),
  error: z.string().optional(),
})
export type Row = z.infer<typeof rowSchema>
/** In the order of the columns. */
export const FIELDS = Object.keys(rowSchema.shape)

/** Beginnings of cells that spreadsheets read as a formula, in full width too (OWASP, CSV injection). */
const FORMULA = /^\s*[=+\-@|%＝＋－＠]|^[\t\r\n]/
/** Put before such a cell: spreadsheets show the rest as text. */
const TEXT_MARK = "'"

export interface RowFile {
  /** Rows of an earlier run; the last one of a picture counts. */
  readonly earlier: readonly Row[]
  add(row: Row): void
  /** Replaces the file by these rows in one step, and closes it. */
  finish(rows: readonly Row[]): void
  close(): void
}

/**
 * @param path ends in .jsonl or .csv
 * @param resume continues a file that is there
 * @throws SetupError `destination_taken` for a file that is there, or has something else than rows; `bad_place`
 */
export async function openRows(path: string, resume: boolean): Promise<RowFile> {
  const format = formatOf(path)
  const { rows, end, columns } = await readRows(path, format, resume)
  const file = orRefused(path, () => {
    if (end !== undefined) truncateSync(path, end)
    return openSync(path, 'a')
  })
  let isOpen = true
  const close = () => {
    if (isOpen) closeSync(file)
    isOpen = false
  }
  const head = format.head?.(columns) ?? ''
  if (end === undefined) orRefused(path, () => writeSync(file, head))
  return {
    earlier: rows,
    add: (row) => void orRefused(path, () => writeSync(file, format.write(row, columns))),
    finish(all) {
      close()
      const partial = `${path}.partial`
      orRefused(path, () => {
        writeFileSync(partial, head + all.map((row) => format.write(row, columns)).join(''))
        renameSync(partial, path)
      })
    },
    close,
  }
}

/** @throws SetupError `bad_place` */
function orRefused<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const message = `The rows could not be written to ${path}: ${(cause as Error).message}. Check the folder and its disk.`
    throw new SetupError('bad_place', message, { cause })
  }
}

interface RowFormat {
  /** The first line. */
  head?(columns: readonly string[]): string
  write(row: Row, columns: readonly string[]): string
  /** Where the last whole row ends. */
  endOf(bytes: Buffer): number
  /** The rows and columns of a text of whole rows. @throws Error with the place of what is no row */
  read(text: string): { rows: unknown[]; columns: string[] }
}

const JSON_LINES: RowFormat = {
  // Fields of its own stand first, in the order of the columns.
  write: (row) => `${JSON.stringify({ ...inOrder(row), ...row })}\n`,
  endOf: (bytes) => bytes.lastIndexOf('\n') + 1,
  read: (text) => ({
    rows: text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line) as unknown),
    columns: FIELDS,
  }),
}

const CSV: RowFormat = {
  head: (columns) => csvOf([columns]),
  write: (row, columns) => csvOf([columns.map((name) => cellOf(name, row[name]))]),
  endOf(bytes) {
    let [isQuoted, end] = [false, 0]
    for (let at = 0; at < bytes.length; at++) {
      if (bytes[at] === 0x22) isQuoted = !isQuoted
      else if (bytes[at] === 0x0a && !isQuoted) end = at + 1
    }
    return end
  },
  read(text) {
    const { data, errors, meta } = Papa.parse<Record<string, string>>(text, {
      header: true,
      skipEmptyLines: true,
    })
    const [fault] = errors.filter(({ code }) => code !== 'UndetectableDelimiter')
    if (fault) throw new Error(`${fault.message} in row ${fault.row ?? 0}`)
    if (meta.delimiter !== ',') throw new Error('the separator is no comma')
    return { rows: data.map(valuesOf), columns: meta.fields ?? [] }
  },
}

function formatOf(path: string): RowFormat {
  const ending = extname(path).toLowerCase()
  if (ending === '.csv') return CSV
  if (ending === '.jsonl' || ending === '.ndjson') return JSON_LINES
  throw new SetupError(
    'bad_place',
    `Expected --out to end in .jsonl or .csv but got ${JSON.stringify(path)}.`,
  )
}

/** `end`: where whole rows end; undefined if the file is to be begun. */
async function readRows(
  path: string,
  format: RowFormat,
  resume: boolean,
): Promise<{ rows: Row[]; end?: number; columns: readonly string[] }> {
  if (!existsSync(path)) return { rows: [], columns: FIELDS }
  const bytes = await readFile(path)
  if (bytes.length === 0) return { rows: [], columns: FIELDS }
  if (!resume) {
    const message = `${path} is there already. Add --resume to continue it, or name another file.`
    throw new SetupError('destination_taken', message)
  }
  const end = format.endOf(bytes)
  if (end === 0) return { rows: [], columns: FIELDS, end: format.head ? undefined : 0 }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, end))
    const { rows, columns } = format.read(text)
    const lacking = FIELDS.filter((name) => !columns.includes(name))
    if (lacking.length > 0) throw new Error(`it has no column ${lacking.join(', ')}`)
    const last = new Map(rows.map((row) => rowSchema.parse(row)).map((row) => [resolve(row.image), row]))
    return { rows: [...last.values()], end, columns }
  } catch (cause) {
    const why = cause instanceof z.ZodError ? 'a row lacks a field' : (cause as Error).message
    const message = `Expected rows of \`glimpse caption\` in UTF-8 in ${path} but ${why}. Name another file.`
    throw new SetupError('destination_taken', message)
  }
}

function inOrder(row: Row): Partial<Row> {
  return Object.fromEntries(FIELDS.map((name) => [name, row[name]]))
}

function csvOf(rows: readonly (readonly string[])[]): string {
  return `${Papa.unparse(rows as string[][], { escapeFormulae: FORMULA })}\r\n`
}

/** A path that looks like a formula stays a path of the same file: `./=a.jpg`. */
function cellOf(name: string, value: unknown): string {
  if (value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return name === 'image' && FORMULA.test(text) ? `./${text}` : text
}

function valuesOf(cells: Record<string, string>): Record<string, unknown> {
  const values = Object.entries(cells).flatMap(([name, cell]): [string, unknown][] => {
    if (cell === '') return []
    const text = cell.startsWith(TEXT_MARK) && FORMULA.test(cell.slice(1)) ? cell.slice(1) : cell
    return [[name, name === 'unknown' ? text.toLowerCase() === 'true' || undefined : text]]
  })
  return Object.fromEntries(values)
}
