import { defineConfig } from 'vitest/config'
import type { Reporter, TestModule } from 'vitest/node'

/** The last line says how it went in one form that any reader of logs knows. */
const closingLine: Reporter = {
  onTestRunEnd(modules: readonly TestModule[], errors) {
    const results = modules.flatMap((module) =>
      [...module.children.allTests()].map((test) => test.result().state),
    )
    const count = (state: string) => results.filter((result) => result === state).length
    const broken = modules.filter(
      (module) => module.state() === 'failed' && module.children.size === 0,
    ).length
    const failed = count('failed') + broken + errors.length
    console.log(`${count('passed')} passed, ${failed} failed, ${count('skipped')} skipped`)
  },
}

/** Files that need more than the npm registry gives, or minutes: `npm run test:long`. */
const LONG = 'test/**/*.long.test.ts'

export const configOf = (isLong: boolean) =>
  defineConfig({
    test: {
      // The command line and the model's process are tested as they ship.
      globalSetup: './test/compile.ts',
      include: isLong ? [LONG] : ['test/**/*.test.ts'],
      exclude: isLong ? [] : [LONG, 'node_modules/**'],
      // No verdict depends on time: these bounds end only what hangs, on a busy machine too.
      testTimeout: 120_000,
      hookTimeout: 120_000,
      expect: { poll: { timeout: 60_000 } },
      // Each file may run a model: on two cores more at once would only wait for each other.
      maxWorkers: 2,
      reporters: ['default', closingLine],
    },
  })

export default configOf(false)
