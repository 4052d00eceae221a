// Runs `npx serverless package` without an account and without a network, and parses its output.

import { execFile } from 'node:child_process'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export const ROOT = join(import.meta.dirname, '../..')

export interface Resource {
  Type: string
  Condition?: string
  DeletionPolicy?: string
  // biome-ignore lint/suspicious/noExplicitAny: a template has no other type
  Properties: Record<string, any>
}

export interface Packaged {
  /** Folder with <function>.zip and <layer>.zip. */
  folder: string
  resources: Record<string, Resource>
  of(type: string): [string, Resource][]
}

/** Returns the names in a zip from its central directory (APPNOTE.TXT, 4.3.12). */
export async function namesIn(zip: string): Promise<string[]> {
  const bytes = await readFile(zip)
  const names: string[] = []
  let at = bytes.readUInt32LE(bytes.lastIndexOf('PK\x05\x06', undefined, 'latin1') + 16)
  while (bytes.toString('latin1', at, at + 4) === 'PK\x01\x02') {
    const [name, extra, comment] = [28, 30, 32].map((offset) => bytes.readUInt16LE(at + offset)) as [
      number,
      number,
      number,
    ]
    names.push(bytes.toString('utf8', at + 46, at + 46 + name))
    at += 46 + name + extra + comment
  }
  return names.sort()
}

/** No server listens on this proxy, so every network access fails at once. */
const DEAD = 'http://127.0.0.1:9'

export async function packageFor(gpu: string): Promise<Packaged> {
  const home = await mkdtemp(join(tmpdir(), 'glimpse-home-'))
  const folder = join(home, 'package')
  const serverless = join(ROOT, 'node_modules/.bin/serverless')
  await promisify(execFile)(serverless, ['package', '--param', `gpu=${gpu}`, '--package', folder], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      HOME: home,
      HTTP_PROXY: DEAD,
      HTTPS_PROXY: DEAD,
      http_proxy: DEAD,
      https_proxy: DEAD,
      AWS_ENDPOINT_URL: DEAD,
      AWS_EC2_METADATA_DISABLED: 'true',
    },
  })
  const text = await readFile(join(folder, 'cloudformation-template-update-stack.json'), 'utf8')
  const { Resources: resources } = JSON.parse(text) as { Resources: Record<string, Resource> }
  return {
    folder,
    resources,
    of: (type) => Object.entries(resources).filter(([, { Type }]) => Type === type),
  }
}
