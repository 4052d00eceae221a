// Versions of Glimpse, of onnxruntime and of the optional packages, from package.json.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const glimpse: { version: string; peerDependencies?: Record<string, string> } = require('../package.json')
const onnxruntime: { version: string } = require('onnxruntime-node/package.json')

export const GLIMPSE_VERSION = glimpse.version
export const ONNXRUNTIME_VERSION = onnxruntime.version
/** Name -> range of versions. Empty in a function on Lambda, which has them in its bundle. */
export const OPTIONAL_PACKAGES: Readonly<Record<string, string>> = glimpse.peerDependencies ?? {}
