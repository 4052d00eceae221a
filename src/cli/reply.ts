// A picture's file -> a reply on the terminal: text for people, one line of JSON for programs.

import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import type { Engine } from '../engine/engine.ts'
import type { InferenceRequest, InferenceResult } from '../engine/request.ts'
import { RequestError } from '../errors.ts'

/** `-` is standard input. Throws RequestError `no_picture`. */
export async function readPicture(path: string): Promise<Uint8Array> {
  if (path === '-') return buffer(process.stdin)
  return readFile(path).catch((cause: NodeJS.ErrnoException) => {
    const why =
      { ENOENT: 'there is no such file', EISDIR: 'that is a folder' }[cause.code ?? ''] ?? cause.message
    throw new RequestError('no_picture', `Expected a picture at ${path} but ${why}. Check the path.`, {
      cause,
    })
  })
}

/** Answers and prints as soon as words come, where a person looks on and there is one answer. */
export async function answerAndPrint(
  engine: Engine,
  path: string,
  ask: Omit<InferenceRequest, 'image'>,
  { json, label }: { json: boolean; label: boolean },
): Promise<InferenceResult> {
  const image = await readPicture(path)
  const { num_beams = 1, num_return_sequences = 1 } = ask.settings ?? {}
  const streams = !json && !label && process.stdout.isTTY && num_beams === 1 && num_return_sequences === 1
  const onToken = streams ? (text: string) => process.stdout.write(text) : undefined
  const reply = await engine.answer({ ...ask, image }, { onToken })
  if (json) process.stdout.write(`${JSON.stringify(label ? { image: path, ...reply } : reply)}\n`)
  else if (streams) process.stdout.write('\n')
  else for (const { text } of reply.sequences) process.stdout.write(`${label ? `${path}: ` : ''}${text}\n`)
  return reply
}
