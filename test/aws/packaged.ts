// `npx serverless package` as somebody without an account and without a network runs it; what it makes, parsed.

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
  /** Holds <function>.zip and <layer>.zip. */
  folder: string
  resources: Record<string, Resource>
  of(type: string): [string, Resource][]
}

/** Nothing listens there: whoever tries the network fails at once. */
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
