// A native library that does not load -> the model process reports it in one line, in place of a stack.
//
// Imported before the libraries: an error while a module is evaluated reaches `uncaughtException`. model-process.ts removes the
// listener when all are loaded.

import { SetupError, serializeError } from '../errors.ts'
import type { FromChild } from './protocol.ts'

process.once('uncaughtException', (error: NodeJS.ErrnoException) => {
  const message: FromChild = {
    kind: 'failed',
    error: serializeError(isOfLibrary(error) ? unusable(error) : error),
  }
  process.send?.(message, () => process.exit(1))
})

/** sharp throws an error of its own, onnxruntime-node those of `require`: no binary for this system, or one that does not load. */
function isOfLibrary({ code = '', message }: NodeJS.ErrnoException): boolean {
  return (
    ['MODULE_NOT_FOUND', 'ERR_DLOPEN_FAILED'].includes(code) ||
    message.startsWith('Could not load the "sharp"')
  )
}

function unusable({ message }: Error): SetupError {
  const [line] = message.split('\n')
  const todo = 'Install Glimpse again on this system, with optional packages: npm install --include=optional'
  return new SetupError(
    'no_library',
    `A native library does not load: ${line}. ${todo}. There is none for macOS on Intel, and for musl systems such as Alpine.`,
  )
}
