// Versions of Glimpse and onnxruntime, for artifacts and `--version`.

import { createRequire } from 'node:module'
import { z } from 'zod'

const require = createRequire(import.meta.url)
const versionOf = (path: string) => z.object({ version: z.string() }).parse(require(path)).version

export const GLIMPSE_VERSION = versionOf('../package.json')
export const ONNXRUNTIME_VERSION = versionOf('onnxruntime-node/package.json')
