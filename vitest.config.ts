import { defineConfig } from 'vitest/config'
import type { Reporter, TestModule } from 'vitest/node'

/** Prints the totals as the last line, in a fixed form that scripts can parse. */
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

/** Tests that need tools beyond the npm registry, or minutes: `npm run test:long`. */
const LONG = 'test/**/*.long.test.ts'

export const configOf = (isLong: boolean) =>
  defineConfig({
    test: {
      // Compiles dist/: tests run the command line and the model process from there.
      globalSetup: './test/compile.ts',
      include: isLong ? [LONG] : ['test/**/*.test.ts'],
      exclude: isLong ? [] : [LONG, 'node_modules/**'],
      // No verdict depends on time. These timeouts end only tests that hang, also on a busy machine.
      testTimeout: 120_000,
      hookTimeout: 120_000,
      expect: { poll: { timeout: 60_000 } },
      // Each file may run a model. On two cores more workers would only wait for each other.
      maxWorkers: 2,
      reporters: ['default', closingLine],
    },
  })

export default configOf(false)
