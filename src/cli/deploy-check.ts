// glimpse deploy-check: compares the parameters of a deployment with the AWS account, before anything is created.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { SetupError } from '../errors.ts'
import { loadPart } from '../optional-part.ts'
import { PLATFORMS } from '../platforms.ts'
import { printResults } from './doctor.ts'

/** In ms, for each check. */
const TIMEOUT_MS = 30_000
const PACKAGES = [
  'yaml',
  '@aws-sdk/client-ecr',
  '@aws-sdk/client-lambda',
  '@aws-sdk/client-service-quotas',
  '@aws-sdk/client-ssm',
]

const HELP = `
Reads the parameters of the stage (deploy/, --param), checks their form, and
asks the AWS account about them: tokens in the region of the deployment,
concurrency of functions, GPU quota, the image and its platform, the model in
the bucket. It creates and changes nothing.

Run it in a clone of Glimpse, with the credentials of the deployment. The exit
code is 1 if a check fails.

Examples:
  $ npx glimpse deploy-check --stage prod --param gpu=embedded
  $ npx glimpse deploy-check --stage prod --bucket <StateBucket> \\
      --param image=<account>.dkr.ecr.<region>.amazonaws.com/glimpse@sha256:...
`

interface Flags {
  stage: string
  region?: string
  bucket?: string
  param: string[]
  json: boolean
}

export function deployCheckCommand(): Command {
  const collect = (value: string, before: string[]) => [...before, value]
  return new Command('deploy-check')
    .description('checks the parameters of a deployment on AWS before it')
    .requiredOption('--stage <name>', 'stage, as for serverless')
    .option('--region <name>', 'region, as for serverless (default: the parameter region)')
    .option('--bucket <name>', "the stack's output StateBucket, after the first deployment")
    .option('--param <name=value>', 'parameter, as for serverless; repeatable', collect, [])
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
    .action(async ({ stage, region, bucket, param, json }: Flags) => {
      const needs = '"glimpse deploy-check", which runs in a clone of Glimpse after "npm ci",'
      const [{ parse }, { openAccount }, { deployChecks }, { runChecks }] = await loadPart(
        needs,
        PACKAGES,
        () =>
          Promise.all([
            import('yaml'),
            import('../doctor/account.ts'),
            import('../doctor/deploy.ts'),
            import('../doctor/check.ts'),
          ]),
      )
      const parseYaml = (text: string) => parse(text, { logLevel: 'silent' })
      const params = paramsOf(process.cwd(), stage, param, parseYaml)
      const forms = parseYaml(readFileSync(join(process.cwd(), 'deploy/forms.yml'), 'utf8'))
      const where = region ?? params['region']!
      const hasFile = existsSync(join(process.cwd(), fileOf(stage)))
      const platforms = PLATFORMS.map(({ label, secrets }) => ({
        label,
        secrets: [...new Set([...secrets.receive, ...secrets.reply])],
      }))
      const deployment = { stage, hasFile, region: where, bucket, params, forms, platforms }
      printResults(await runChecks(deployChecks(deployment, openAccount(where)), TIMEOUT_MS), json)
    })
}

/**
 * Parameters in the order of serverless: `--param`, the stage's file, the defaults.
 * @throws SetupError `bad_settings` outside a clone, for a parameter of another form, and for one that there is not
 */
export function paramsOf(
  root: string,
  stage: string,
  given: readonly string[],
  parse: (text: string) => unknown,
): Record<string, string> {
  const read = (path: string) =>
    existsSync(join(root, path)) ? parse(readFileSync(join(root, path), 'utf8')) : undefined
  const defaults = read('deploy/defaults.yml') as Record<string, unknown> | undefined
  if (!defaults)
    throw new SetupError(
      'bad_settings',
      `Expected deploy/defaults.yml in ${root} but it is not there. Run this in a clone of Glimpse.`,
    )
  const own = (read(fileOf(stage)) ?? {}) as Record<string, unknown>
  const flags = Object.fromEntries(given.map((each) => split(each)))
  const [unknown] = [
    ...Object.keys(flags).map((name) => ({ name, found: `got --param ${name}=...` })),
    ...Object.keys(own).map((name) => ({ name, found: `${fileOf(stage)} has ${name}.` })),
  ].filter(({ name }) => !(name in defaults))
  if (unknown)
    throw new SetupError(
      'bad_settings',
      `Expected a parameter of the deployment but ${unknown.found} The parameters: ${Object.keys(defaults).join(', ')}`,
    )
  const all = { ...defaults, ...own, ...flags }
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, String(value ?? '')]))
}

const fileOf = (stage: string) => `deploy/stages/${stage}.yml`

function split(param: string): [string, string] {
  const at = param.indexOf('=')
  if (at > 0) return [param.slice(0, at), param.slice(at + 1)]
  throw new SetupError('bad_settings', `Expected --param <name>=<value> but got "${param}".`)
}
