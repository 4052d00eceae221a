// What a model of the hub takes -> the precision that the user agrees to. Asked on a terminal before anything large is fetched.

import { createInterface } from 'node:readline/promises'
import type { ModelPlan } from '../app/hub-models.ts'
import { cancelled } from '../errors.ts'
import { memoryOf } from '../memory.ts'
import { PRECISIONS, type Precision } from '../quantize/recipes.ts'
import { megabytes } from '../units.ts'

/** A download of this speed is assumed for the time that is announced: 160 Mbit/s. */
const BYTES_PER_SECOND = 20e6
/** A build on two cores takes in about so many bytes of a checkpoint a second. */
const BUILD_BYTES_PER_SECOND = 100e6

/** Says what the model takes, and asks. Without a terminal it says so and goes on. */
export async function confirmOnTerminal(plan: ModelPlan): Promise<Precision> {
  process.stderr.write(wordsFor(plan))
  if (!process.stdin.isTTY || !process.stderr.isTTY) return plan.precision
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    while (true) {
      const asked = await lines.question(`Go on? [Y/n, or ${PRECISIONS.join(', ')}] `)
      const reply = asked.trim().toLowerCase()
      if (['', 'y', 'yes'].includes(reply)) return plan.precision
      if (['n', 'no'].includes(reply)) throw cancelled('Nothing was downloaded.')
      const other = PRECISIONS.find((one) => one === reply)
      if (other) return other
    }
  } finally {
    lines.close()
  }
}

function wordsFor({ name, precision, downloadBytes, artifactBytes, memoryBytes }: ModelPlan): string {
  const bytes = artifactBytes[precision]
  const sourceBytes = downloadBytes || artifactBytes.fp32 / 2
  const seconds = Math.max(downloadBytes / BYTES_PER_SECOND, sourceBytes / BUILD_BYTES_PER_SECOND)
  const from =
    downloadBytes > 0
      ? `a download of ${megabytes(downloadBytes)}`
      : "the checkpoint in this machine's Hugging Face cache"
  const others = PRECISIONS.filter((one) => one !== precision && one !== 'fp32')
    .map((one) => `${one}: ${megabytes(artifactBytes[one])}`)
    .join(', ')
  return [
    `${name} is made once, from ${from}, and kept.`,
    `  precision ${precision}, because it fits the memory of this machine (${others})`,
    `  disk      ${megabytes(bytes)}`,
    `  memory    about ${megabytes(memoryOf(bytes))} of ${megabytes(memoryBytes)}`,
    `  time      about ${minutes(seconds)}${downloadBytes > 0 ? ` at ${megabytes(BYTES_PER_SECOND)} a second` : ''}`,
    '',
  ].join('\n')
}

function minutes(seconds: number): string {
  return seconds < 60 ? 'a minute' : `${Math.ceil(seconds / 60)} minutes`
}
