// Pictures' files -> answers on standard output: text for people, one line of JSON for programs.

import { buffer } from 'node:stream/consumers'
import { type Engine, startEngine } from '../engine/engine.ts'
import type { InferenceRequest } from '../engine/request.ts'
import { isGlimpseError, RequestError } from '../errors.ts'
import { readPictureFile } from '../image/file.ts'
import { shellWord } from '../shell.ts'
import { type ModelFlags, modelFor, settingsOf } from './flags.ts'

export interface ReplyFlags extends ModelFlags {
  json: boolean
}

/** Answers the same request about each picture. Among several, a bad picture costs only its own answer. */
export async function answerPictures(
  paths: readonly string[],
  request: Omit<InferenceRequest, 'image' | 'settings'>,
  options: ReplyFlags,
): Promise<void> {
  const engine = await startEngine(await modelFor(options))
  const withSettings = { ...request, settings: settingsOf({ ...options }) }
  try {
    for (const path of paths) {
      const print = { json: options.json, label: paths.length > 1 }
      await answerAndPrint(engine, path, withSettings, print).catch((error: unknown) => {
        if (paths.length === 1 || !isGlimpseError(error)) throw error
        process.stderr.write(`glimpse: ${path}: ${error.message}\n`)
        process.exitCode = 1
      })
    }
  } finally {
    await engine.close()
  }
}

/** The file's bytes; `-` is standard input. @throws RequestError `no_picture` */
export async function readPicture(path: string): Promise<Uint8Array> {
  if (path === '-' && process.stdin.isTTY) throw isTerminal()
  if (path === '-') return buffer(process.stdin)
  if (/^https?:\/\//i.test(path)) throw isAddress(path)
  return await readPictureFile(path)
}

function isTerminal(): RequestError {
  const message =
    'Expected a picture on standard input but it is a terminal. Pipe one: npx glimpse caption - < photo.jpg'
  return new RequestError('no_picture', message)
}

function isAddress(url: string): RequestError {
  const message = `Expected a picture file but got an address: Glimpse fetches none. Download the picture, or pipe it: curl -sSL ${shellWord(url)} | npx glimpse caption -`
  return new RequestError('no_picture', message)
}

/** Prints each word when the model has generated it if standard output is a terminal and there is one answer. */
async function answerAndPrint(
  engine: Engine,
  path: string,
  request: Omit<InferenceRequest, 'image'>,
  { json, label }: { json: boolean; label: boolean },
): Promise<void> {
  const image = await readPicture(path)
  const { num_beams = 1, num_return_sequences = 1 } = request.settings ?? {}
  const streams = !json && !label && process.stdout.isTTY && num_beams === 1 && num_return_sequences === 1
  let isStreamed = false
  const onToken = (text: string) => {
    isStreamed = true
    process.stdout.write(text)
  }
  const reply = await engine.answer({ ...request, image }, { onToken: streams ? onToken : undefined })
  if (json) process.stdout.write(`${JSON.stringify(label ? { image: path, ...reply } : reply)}\n`)
  // Nothing is streamed if a preset asks for beams.
  else if (isStreamed) process.stdout.write('\n')
  else for (const { text } of reply.sequences) process.stdout.write(`${label ? `${path}: ` : ''}${text}\n`)
  if (reply.unknown && !json)
    process.stderr.write(`glimpse: the model does not know ${path}: this is no alt text\n`)
}
