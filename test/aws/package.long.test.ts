// serverless.yml packaged for each value of param gpu -> templates that pass the checks of package.ts and cfn-lint.

import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { describePackage, PLACES } from './package.ts'
import { packageFor } from './packaged.ts'

for (const gpu of PLACES) describePackage(gpu)

/** A property that the specification of AWS::Lambda::Function in cfn-lint 1.51 does not have yet. */
const FALSE_POSITIVE = "E3002 Additional properties are not allowed ('AcceleratorConfig' was unexpected)"

test.each(PLACES)(
  'cfn-lint (pip install cfn-lint) finds nothing wrong with the template of %s',
  async (gpu) => {
    const { folder } = await packageFor(gpu)
    const template = join(folder, 'cloudformation-template-update-stack.json')
    // With findings cfn-lint exits with 2 or more and prints JSON. Other output means that cfn-lint itself failed.
    const { stdout } = await promisify(execFile)('cfn-lint', ['--format', 'json', template]).catch(
      (error: Error & { stdout?: string }) => ({ stdout: error.stdout || error.message }),
    )
    const found = JSON.parse(stdout) as { Level: string; Message: string; Rule: { Id: string } }[]
    const errors = found
      .filter(({ Level }) => Level === 'Error')
      .map(({ Rule, Message }) => `${Rule.Id} ${Message}`)
    expect(errors.filter((error) => error !== FALSE_POSITIVE)).toEqual([])
    await rm(dirname(folder), { recursive: true, force: true })
  },
  180_000,
)
