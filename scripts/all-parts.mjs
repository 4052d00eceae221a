// package.json: the optional parts (chats, AWS, search) become dependencies, so that `npm ci --omit=dev` installs them from
// package-lock.json. For the image; it changes package.json in place.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const PATH = fileURLToPath(new URL('../package.json', import.meta.url))

const manifest = JSON.parse(readFileSync(PATH, 'utf8'))
const { peerDependencies: parts, devDependencies } = manifest
Object.assign(manifest.dependencies, parts)
for (const name of Object.keys(parts)) delete devDependencies[name]
delete manifest.peerDependencies
delete manifest.peerDependenciesMeta
writeFileSync(PATH, `${JSON.stringify(manifest, null, 2)}\n`)
