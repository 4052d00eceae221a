// glimpse push <artifact> s3://bucket/prefix

import { Command, InvalidArgumentError } from 'commander'
import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import { shellWord } from '../shell.ts'
import { megabytes } from '../units.ts'
import { withProgress } from './progress.ts'

const HELP = `
Every file is compared with the manifest, then sent in parallel parts with
checksums that S3 verifies. The manifest is sent last, so a partial upload is
never run as a model. After an interruption the same command resumes: it skips
files that are in the bucket with the same checksum.

Give each version a prefix of its own. To release a version, or to return to an
earlier one, set GLIMPSE_MODEL to its prefix and restart. A machine that ran a
version before still has it in its cache (GLIMPSE_CACHE).

Credentials and region come from the same places as for the AWS command line
(AWS_PROFILE, AWS_REGION, roles). AWS_ENDPOINT_URL_S3 names another service that
speaks S3. Permissions: to push, s3:GetObject, s3:PutObject, s3:DeleteObject,
s3:AbortMultipartUpload and s3:ListBucket; to run the model, s3:GetObject and
s3:ListBucket.

Examples:
  $ npx glimpse push ./blip2-int4 s3://my-models/blip2-int4/2026-11-25
  $ GLIMPSE_MODEL=s3://my-models/blip2-int4/2026-11-25 npx glimpse serve
  $ npx glimpse push ./blip2-int4 s3://my-models/latest --replace
`

export function pushCommand(): Command {
  return new Command('push')
    .description('uploads an artifact to an S3 bucket, from which Glimpse can run it')
    .argument('<artifact>', 'folder that `glimpse build` or `glimpse pull` made')
    .argument('<s3://bucket/prefix>', 'destination of its files', (text) => {
      if (/^s3:\/\/[^/]+\/./.test(text)) return text
      throw new InvalidArgumentError('Expected an address like s3://bucket/prefix.')
    })
    .option('--replace', 'replace another model at that prefix; no model can be run from it meanwhile')
    .addHelpText('after', HELP)
    .action(async (artifact: string, location: string, flags: { replace?: boolean }) => {
      // Imported on use, so that other commands do not load the SDK.
      const { pushArtifact } = await loadPart('push', S3_PACKAGES, () => import('../transfer/push.ts'))
      const { manifest, sentBytes, skipped } = await withProgress('model_pushing', (given) =>
        pushArtifact(artifact, location, { ...flags, ...given }),
      )
      const { name, precision, files } = manifest
      const present =
        skipped.length > 0 ? `; ${skipped.length} of ${files.length} files were already there` : ''
      process.stdout.write(
        `${name} at ${precision}: ${megabytes(sentBytes)} sent to ${location}${present}\n` +
          `Run it: GLIMPSE_MODEL=${shellWord(location)} npx glimpse serve\n`,
      )
    })
}
