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
    const { stdout } = await promisify(execFile)('cfn-lint', [
      '--non-zero-exit-code',
      'error',
      template,
    ]).catch((error: { stdout?: string; message: string }) => ({ stdout: error.stdout || error.message }))
    const complaints = stdout.split('\n').filter((line) => /^E\d|ENOENT/.test(line))
    expect(complaints.filter((line) => line !== UNKNOWN_TO_IT)).toEqual([])
    await rm(dirname(folder), { recursive: true, force: true })
  },
  180_000,
)
