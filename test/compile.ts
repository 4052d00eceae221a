// Compiles src/ once before the tests, and builds the embedded model into the cache that several test files share.

import { execFileSync } from 'node:child_process'

export default async function compile(): Promise<void> {
  execFileSync('npm', ['run', '--silent', 'compile'], { stdio: 'inherit' })
  const { embeddedArtifact } = await import('../src/builder/embedded.ts')
  const { readConfig } = await import('../src/config.ts')
  await embeddedArtifact(readConfig().cacheFolder)
}
