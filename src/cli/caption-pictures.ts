// `glimpse caption` with folders, globs or --out: rows for many pictures, in a file or on standard output.

import { text } from 'node:stream/consumers'
import { captionPictures } from '../batch/caption-pictures.ts'
import { type NamedPicture, namesIn, picturesNamed } from '../batch/pictures.ts'
import { openRows, type Row } from '../batch/rows.ts'
import { readConfig } from '../config.ts'
import { startEngine } from '../engine/engine.ts'
import type { Place } from '../xmp/alt-text.ts'
import { modelFor, settingsOf } from './flags.ts'
import { withCount } from './progress.ts'
import type { ReplyFlags } from './reply.ts'

export interface BatchFlags extends ReplyFlags {
  prompt?: string
  out?: string
  resume: boolean
  recursive: boolean
  hidden: boolean
  exclude?: string[]
  write?: Place
  overwrite: boolean
}

/** `-` among the names stands for a list of names on standard input. */
export async function captionAll(names: readonly string[], flags: BatchFlags): Promise<void> {
  const { out, write, overwrite, recursive, hidden, exclude } = flags
  const all: string[] = []
  for (const name of names) all.push(...(name === '-' ? namesIn(await text(process.stdin)) : [name]))
  const named = await picturesNamed(all, { recursive, hidden, exclude })
  for (const { path, why } of named.unreadFolders) complain(path, why)
  const rows = out === undefined ? undefined : await openRows(out, flags.resume)
  const print = rows ? undefined : printer(named.pictures, flags.json)
  const config = readConfig()
  const engine = await startEngine(await modelFor(flags, config))
  try {
    const report = await withCount('pictures_captioned', ({ signal, onProgress }) =>
      captionPictures(named, {
        engine,
        batch: config.maxBatch,
        request: { prompt: flags.prompt, settings: settingsOf({ ...flags }) },
        rows,
        write,
        overwrite,
        onRow: print,
        onProgress: (done, total) => rows && total > 0 && onProgress(done, total),
        signal,
      }),
    )
    if (report.errors > 0 || named.unreadFolders.length > 0) process.exitCode = 1
    const { captioned, reused, kept, errors } = report
    const counts = [`${captioned} captioned`, `${reused} reused`, `${errors} errors`]
    if (write) counts.push(`${kept} with a person's alt text, which stays`)
    if (out !== undefined)
      process.stdout.write(`${named.pictures.length} pictures: ${counts.join(', ')}. Rows: ${out}\n`)
  } finally {
    rows?.close()
    await engine.close()
  }
}

/** Prints rows in the order of the pictures, as soon as all before are printed. */
function printer(pictures: readonly NamedPicture[], json: boolean): (row: Row) => void {
  const waiting = new Map<string, Row>()
  let next = 0
  return (row) => {
    waiting.set(row.image, row)
    for (let due = waiting.get(pictures[next]!.image); due; due = waiting.get(pictures[next]?.image ?? '')) {
      next++
      if (json) process.stdout.write(`${JSON.stringify(due)}\n`)
      else if (due.text !== undefined) process.stdout.write(`${due.image}: ${due.text}\n`)
      if (due.error !== undefined) complain(due.image, due.error)
      if (due.unknown && !json) complain(due.image, 'the model does not know it: this is no alt text')
    }
  }
}

function complain(path: string, why: string): void {
  process.stderr.write(`glimpse: ${path}: ${why}\n`)
}
