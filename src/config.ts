// Environment variables -> typed settings. No other file reads the environment.
//
// Every bad value and every unknown GLIMPSE_* name is reported together, at the start.

import { homedir } from 'node:os'
import { SetupError } from './errors.ts'
import { PLATFORMS } from './platforms.ts'
import { choice, flag, integer, type Setting, type SettingValues, secret, text } from './setting.ts'
import { HOUR_MS } from './time.ts'

// A container may run as a user without a passwd entry and without HOME. os.homedir() then throws, in the AWS SDK too. No
// folder can be created below /dev/null, so the error that follows names the folder and its setting.
if (process.env.HOME === '') delete process.env.HOME
try {
  homedir()
} catch {
  process.env.HOME = '/dev/null'
}

// The AWS SDK would print on Node 20, at each start, that its versions of 2027 need Node 22. package.json decides which are used.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

/** The environment, for `glimpse doctor`, which reports on it name by name. */
export const ENVIRONMENT: Environment = process.env

/** One part of the address on which Lambda expects a web function to listen, with or without a scheme: `127.0.0.1:8080`. */
function endpoint(part: 'hostname' | 'port'): (text: string) => string {
  return (text) => {
    // For http the URL parser would drop port 80.
    const address = text.replace(/^(https?:\/\/)?/, 'lambda://')
    // Text that is no address goes on to `parse`, whose error quotes it.
    return URL.canParse(address) ? new URL(address)[part].replace(/^\[|\]$/g, '') || text : text
  }
}
const LAMBDA_ENDPOINT = 'AWS_LAMBDA_HTTP_ENDPOINT'

const OWN_SETTINGS = {
  model: text('GLIMPSE_MODEL', '', {
    defaultText: 'the embedded model',
    description:
      'Model to run: a folder that `glimpse build` wrote, the s3://bucket/prefix that `glimpse push` wrote to, or owner/name on the hub.',
  }),
  cacheFolder: text('GLIMPSE_CACHE', '~/.cache/glimpse', {
    description:
      'Folder for files that can be made again: the built embedded model, fetched artifacts, prepacked weights.',
  }),
  prepackFromMb: integer('GLIMPSE_PREPACK_FROM_MB', 256, 0, 1_000_000_000, {
    description:
      'Size in MB from which weights are prepacked for this CPU, once, in GLIMPSE_CACHE. Later starts are fast.',
  }),
  hubEndpoint: text('HF_ENDPOINT', 'https://huggingface.co', {
    description: 'Hub that `glimpse pull` downloads from.',
  }),
  hubToken: secret('HF_TOKEN', { description: 'Token for private and gated models.' }),
  hubHome: text('HF_HOME', '~/.cache/huggingface', {
    description: "Folder of huggingface_hub: its login's token, and hub/, its cache of checkpoints.",
  }),
  hubCache: text('HF_HUB_CACHE', '', {
    defaultText: 'HF_HOME/hub',
    description: 'Cache of huggingface_hub. A checkpoint that is in it is not downloaded again.',
  }),
  hubOffline: flag('HF_HUB_OFFLINE', {
    description: '1: nothing is downloaded from the hub.',
  }),
  threads: integer('GLIMPSE_THREADS', 0, 0, 256, {
    description: 'Threads for one operator; 0 uses all cores.',
  }),
  provider: choice('GLIMPSE_PROVIDER', 'cpu', ['cpu', 'cuda', 'webgpu'], {
    description: 'Execution provider that runs the model.',
  }),
  providerMissing: choice('GLIMPSE_PROVIDER_MISSING', 'fail', ['fail', 'cpu'], {
    description:
      'When the provider is unavailable: fail, or run on the CPU and report it in /v1/model and /metrics.',
  }),
  maxBatch: integer('GLIMPSE_MAX_BATCH', 8, 1, 256, {
    description: 'Waiting requests that the model may answer in one batch; 1 answers them one by one.',
  }),
  engine: text('GLIMPSE_ENGINE', '', {
    defaultText: 'here',
    description:
      'Where the model runs: here, or on a remote engine: https://host of another Glimpse, or sagemaker://endpoint.',
  }),
  apiToken: secret('GLIMPSE_API_TOKEN', {
    description: 'Bearer token that /v1, /invocations and /metrics require; also sent to a remote engine.',
  }),
  queue: text('GLIMPSE_QUEUE', '', {
    description:
      'URL of the SQS FIFO queue between the processes that receive questions and those that answer them.',
  }),
  uploads: text('GLIMPSE_UPLOADS', '', {
    description:
      's3://bucket/prefix for pictures that are too large for a request: POST /v1/uploads returns an upload URL.',
  }),
  secrets: text('GLIMPSE_SECRETS', '', {
    description:
      'Path in the SSM parameter store, such as /glimpse/prod. Secrets are read from /glimpse/prod/SLACK_BOT_TOKEN and so on.',
  }),
  brake: text('GLIMPSE_BRAKE', '', {
    description:
      'What the function brake stops when the budget is exceeded, as JSON. deploy/budget.yml sets it.',
  }),
  logFormat: choice('GLIMPSE_LOG', 'text', ['text', 'json'], { description: 'Format of the log.' }),
  metrics: choice('GLIMPSE_METRICS', 'prometheus', ['prometheus', 'emf'], {
    description: 'Metrics at GET /metrics, or, on Lambda, as CloudWatch EMF in the log.',
  }),
  host: text('GLIMPSE_HOST', '127.0.0.1', {
    description: 'Address to listen on; 0.0.0.0 accepts other machines.',
    aliases: { [LAMBDA_ENDPOINT]: endpoint('hostname') },
  }),
  // Lambda's variable comes before PORT, because it holds the whole address. Cloud Run and most others set PORT.
  port: integer('GLIMPSE_PORT', 8080, 0, 65_535, {
    description: `Port to listen on; 0 picks a free one. When it is not set, ${LAMBDA_ENDPOINT}, then PORT, are used.`,
    aliases: { [LAMBDA_ENDPOINT]: endpoint('port'), PORT: (text) => text },
  }),
  allowedHosts: text('GLIMPSE_ALLOWED_HOSTS', '', {
    description: 'Further host names that the server accepts, separated by commas.',
  }),
  corsOrigins: text('GLIMPSE_CORS_ORIGINS', '', {
    defaultText: 'none',
    description:
      'Origins of web pages that may use /v1, separated by commas, such as https://app.example; * allows any.',
  }),
  maxQueue: integer('GLIMPSE_MAX_QUEUE', 8, 1, 10_000, {
    description: 'Requests that may wait for the model. Further ones get 429.',
  }),
  deadlineMs: integer('GLIMPSE_DEADLINE_MS', 120_000, 100, HOUR_MS, {
    description: 'Milliseconds that a request may take, waiting included.',
  }),
  state: text('GLIMPSE_STATE', '~/.local/state/glimpse', {
    description:
      'Folder, or s3://bucket/prefix, for what outlives a restart: jobs, conversations, image embeddings, preferences, answers by Idempotency-Key.',
  }),
  search: text('GLIMPSE_SEARCH', '', {
    defaultText: 'search/ in GLIMPSE_STATE',
    description:
      'Folder, or s3://bucket/prefix, for collections of pictures: their vectors, names and dates.',
  }),
  keepHours: integer('GLIMPSE_KEEP_HOURS', 24, 1, 24 * 365, {
    description:
      'Hours after its last answer at which a conversation expires, and after which image embeddings do.',
  }),
  asksPerMinute: integer('GLIMPSE_ASKS_PER_MINUTE', 4, 1, 1_000_000, {
    description: 'Chat questions per person and minute, counted in each process.',
  }),
  asksPerHour: integer('GLIMPSE_ASKS_PER_HOUR', 20, 1, 1_000_000, {
    description: 'Chat questions per person and hour, counted in each process.',
  }),
} as const

type Intersection<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void ? I : never
type PlatformSettings = Intersection<(typeof PLATFORMS)[number]['settings']>

/** One row a setting, those of the chat platforms included. The docs, `--help` and checks are made from it. */
export const SETTINGS: typeof OWN_SETTINGS & PlatformSettings = Object.assign(
  {},
  OWN_SETTINGS,
  ...PLATFORMS.map(({ settings }) => settings),
)

export type Config = SettingValues<typeof SETTINGS>

/**
 * Kubernetes sets these for each service of the namespace, also for one named glimpse or glimpse-worker; docker --link sets
 * the same, NAME and ENV_* (kubernetes.io, "Service", "Environment variables"; docs.docker.com, "Legacy container links").
 */
const SERVICE_LINK =
  /^GLIMPSE(_[A-Z0-9_]+)?_(SERVICE_HOST=[\da-f.:]+|SERVICE_PORT(_[A-Z0-9_]+)?=\d+|PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp):\/\/\S+:\d+|PORT_\d+_(TCP|UDP|SCTP)_(PROTO=(tcp|udp|sctp)|PORT=\d+|ADDR=[\da-f.:]+)|NAME=\/\S+\/\S+|ENV_\w+=.*)$/s

type Environment = Readonly<Record<string, string | undefined>>

/**
 * @param here the environment. @param more settings that override it, such as secrets from the parameter store
 * @throws SetupError `bad_settings`
 */
export function readConfig(here?: Environment, more?: Record<string, string>): Config {
  const { config, problems } = parseConfig(here, more)
  if (problems.length === 0) return config
  throw new SetupError(
    'bad_settings',
    `Bad settings: ${problems.join('; ')}. \`glimpse --help\` lists all settings.`,
  )
}

/** As readConfig, but never throws. A bad value becomes the default and a line in `problems`. `count`: settings that are set. */
export function parseConfig(
  here: Environment = process.env,
  more: Record<string, string> = {},
): { config: Config; problems: string[]; count: number } {
  const all = Object.entries({ ...here, ...more })
  const env = Object.fromEntries(all.filter((entry) => !SERVICE_LINK.test(entry.join('='))))
  const problems: string[] = []
  const config: Record<string, unknown> = {}
  for (const [name, setting] of Object.entries(SETTINGS)) {
    const { defaultText, fallback, parse, aliases } = setting as Setting<unknown>
    const sources = { [setting.env]: (text: string) => text, ...aliases }
    // Compose files and shells omit a setting by an empty variable.
    const source = Object.keys(sources).find((each) => env[each]) ?? setting.env
    const text = env[source] && sources[source]!(env[source])
    const value = !text || text === defaultText ? fallback() : parse(text)
    if (value === undefined)
      problems.push(`${source} must be ${setting.expected} but is ${JSON.stringify(text)}`)
    config[name] = value ?? fallback()
  }
  const known = Object.values(SETTINGS).map((setting): string => setting.env)
  for (const name of Object.keys(env)) {
    if (name.startsWith('GLIMPSE_') && !known.includes(name))
      problems.push(`${name} is no setting of Glimpse`)
  }
  return { config: config as Config, problems, count: known.filter((name) => env[name]).length }
}

const SECRETS = Object.entries<Setting<unknown>>(SETTINGS).filter(([, { isSecret }]) => isSecret)

/** Names of the settings that are secrets, as the environment or the parameter store has them. */
export const SECRET_NAMES: readonly string[] = SECRETS.map(([, { env }]) => env)

/** Whether a secret of any chat platform is set. Another one that is missing beside it is then an error. */
export function wantsChat(config: Config): boolean {
  return SECRETS.some(([name]) => !(name in OWN_SETTINGS) && config[name as keyof Config] !== '')
}

/** The environment of a process that decodes strangers' pictures: it needs no token. */
export function withoutSecrets(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(ENVIRONMENT).filter(([name]) => !SECRET_NAMES.includes(name)))
}

/** Values of all secrets that are set. No log line may contain one. */
export function secretsOf(config: Config): string[] {
  return SECRETS.map(([name]) => String(config[name as keyof Config])).filter((value) => value !== '')
}
