// glimpse push <artifact> s3://bucket/prefix

import { Command, InvalidArgumentError } from 'commander'
import { shellWord } from '../shell.ts'
import { megabytes } from './build.ts'
import { transferBar } from './transfer.ts'

const HELP = `
Every file is checked against the manifest first, sent in parts, several at once, with checksums that S3 compares; the
manifest comes last, so what was pushed half is never taken for a model. Whatever breaks it off, the same command goes
on from there: files that are there with the same checksum are not sent again.

Give each version a prefix of its own. To release it, or to go back, set GLIMPSE_MODEL to that prefix and start anew;
a machine that ran a version before has it in its cache (GLIMPSE_CACHE) still.

Credentials and region are found as the AWS command line finds them (AWS_PROFILE, AWS_REGION, roles); another service
that speaks S3 is named by AWS_ENDPOINT_URL_S3. Whoever pushes needs s3:GetObject, s3:PutObject, s3:DeleteObject,
s3:AbortMultipartUpload and s3:ListBucket; whoever runs the model s3:GetObject and s3:ListBucket.

Examples:
  $ npx glimpse push ./blip2-int4 s3://my-models/blip2-int4/2026-11-25
  $ GLIMPSE_MODEL=s3://my-models/blip2-int4/2026-11-25 npx glimpse serve
`

export function pushCommand(): Command {
  return new Command('push')
    .description('puts an artifact into an S3 bucket, to be run from there')
    .argument('<artifact>', 'folder that `glimpse build` or `glimpse pull` made')
    .argument('<s3://bucket/prefix>', 'where its files go', (text) => {
      if (/^s3:\/\/[^/]+\/./.test(text)) return text
      throw new InvalidArgumentError('Expected an address like s3://bucket/prefix.')
    })
    .option('--replace', 'put it in the place of another model there; until it is done no model is there')
    .addHelpText('after', HELP)
    .action(async (artifact: string, location: string, flags: { replace?: boolean }) => {
      // Only here: other commands need not wait for the SDK.
      const { pushArtifact } = await import('../transfer/push.ts')
      const stop = new AbortController()
      const interrupt = () => stop.abort()
      process.once('SIGINT', interrupt)
      process.once('SIGTERM', interrupt)
      const bar = transferBar('model_pushing')
      try {
        const options = { ...flags, signal: stop.signal, onProgress: bar.show }
        const { manifest, sentBytes, skipped } = await pushArtifact(artifact, location, options)
        bar.stop()
        const before =
          skipped.length > 0 ? `; ${skipped.length} of ${manifest.files.length} files were there` : ''
        process.stdout.write(
          `${manifest.name} at ${manifest.precision}: ${megabytes(sentBytes)} MB sent to ${location}${before}\n` +
            `Run it: GLIMPSE_MODEL=${shellWord(location)} npx glimpse serve\n`,
        )
      } finally {
        bar.stop()
      }
    })
}
