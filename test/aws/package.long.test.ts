// serverless.yml for each place that the model may run at, and all templates before a checker that we did not write.

import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { describePackage, PLACES } from './package.ts'
import { packageFor } from './packaged.ts'

for (const gpu of PLACES) describePackage(gpu)

/** Newer than cfn-lint 1.51's specification of AWS::Lambda::Function. */
const UNKNOWN_TO_IT = "E3002 Additional properties are not allowed ('AcceleratorConfig' was unexpected)"

test.each(PLACES)(
  'cfn-lint (pip install cfn-lint) finds nothing wrong with the template of %s',
  async (gpu) => {
    const { folder } = await packageFor(gpu)
    const template = join(folder, 'cloudformation-template-update-stack.json')
    // It exits with 2 and more when it finds something; what it prints is JSON unless it broke.
    const { stdout } = await promisify(execFile)('cfn-lint', ['--format', 'json', template]).catch(
      (error: Error & { stdout?: string }) => ({ stdout: error.stdout || error.message }),
    )
    const found = JSON.parse(stdout) as { Level: string; Message: string; Rule: { Id: string } }[]
    const errors = found
      .filter(({ Level }) => Level === 'Error')
      .map(({ Rule, Message }) => `${Rule.Id} ${Message}`)
    expect(errors.filter((error) => error !== UNKNOWN_TO_IT)).toEqual([])
    await rm(dirname(folder), { recursive: true, force: true })
  },
  180_000,
)
