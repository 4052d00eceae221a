// Settings of the operator: the one place that reads the environment.
//
// Every bad value and every unknown GLIMPSE_* name is reported together, at the start.

import { homedir } from 'node:os'
import { join } from 'node:path'
import { SetupError } from './errors.ts'
import { choice, integer, type Setting, secret, text } from './setting.ts'
import { HOUR_MS } from './time.ts'

// A container may run as a user without an entry in passwd and without HOME. Then os.homedir() throws, in the AWS SDK as
// well. With this home nothing can be written below it: an error names the folder that is needed and its setting.
if (process.env.HOME === '') delete process.env.HOME
try {
  homedir()
} catch {
  process.env.HOME = '/dev/null'
}

/** Where settings come from, for whoever looks at them name by name. */
export const ENVIRONMENT: Environment = process.env

/** Lambda says where a web function has to listen, with or without a scheme: `127.0.0.1:8080`. */
function endpoint(part: 'hostname' | 'port'): (text: string) => string {
  return (text) => {
    // Of http the URL parser would leave port 80 out.
    const address = text.replace(/^(https?:\/\/)?/, 'lambda://')
    // What cannot be read is handed on as it is, for `parse` to name.
    return URL.canParse(address) ? new URL(address)[part].replace(/^\[|\]$/g, '') || text : text
  }
}
const LAMBDA_ENDPOINT = 'AWS_LAMBDA_HTTP_ENDPOINT'

/** One line a setting: docs, `--help` and checks all come from here. */
export const SETTINGS = {
  model: text(
    'GLIMPSE_MODEL',
    'the embedded model',
    () => '',
    'Folder of the artifact to run, as `glimpse build` made it, or s3://bucket/prefix, where `glimpse push` put it.',
  ),
  cacheFolder: text(
    'GLIMPSE_CACHE',
    '~/.cache/glimpse',
    () => join(homedir(), '.cache', 'glimpse'),
    'Folder for what can be made again, such as the embedded model once it is built.',
  ),
  prepackFromMb: integer(
    'GLIMPSE_PREPACK_FROM_MB',
    256,
    0,
    1_000_000_000,
    'Models of at least so many megabytes are laid out for this processor once, in the cache, and then open fast.',
  ),
  hubEndpoint: text(
    'HF_ENDPOINT',
    'https://huggingface.co',
    () => 'https://huggingface.co',
    'The hub that `glimpse pull` fetches from.',
  ),
  hubToken: secret('HF_TOKEN', 'Token for private and gated models.'),
  hubHome: text(
    'HF_HOME',
    '~/.cache/huggingface',
    () => join(homedir(), '.cache', 'huggingface'),
    "Folder where huggingface_hub's login leaves its token.",
  ),
  threads: integer('GLIMPSE_THREADS', 0, 0, 256, 'Threads of one operator; 0 takes the cores there are.'),
  provider: choice('GLIMPSE_PROVIDER', 'cpu', ['cpu', 'cuda', 'webgpu'], 'What the model runs on.'),
  providerMissing: choice(
    'GLIMPSE_PROVIDER_MISSING',
    'fail',
    ['fail', 'cpu'],
    'What to do when that cannot be had: fail, or run on the CPU and report it in /v1/model and /metrics.',
  ),
  maxBatch: integer(
    'GLIMPSE_MAX_BATCH',
    8,
    1,
    256,
    'Waiting asks that the model may answer in one go; 1 answers one by one.',
  ),
  engine: text(
    'GLIMPSE_ENGINE',
    'here',
    () => '',
    'Where the model runs, if not here: https://host of another Glimpse, or sagemaker://endpoint.',
  ),
  apiToken: secret(
    'GLIMPSE_API_TOKEN',
    'Whoever asks over /v1 must send it (Authorization: Bearer ...); sent to the engine elsewhere, too.',
  ),
  queue: text(
    'GLIMPSE_QUEUE',
    'none',
    () => '',
    'Address of the SQS queue between chats and answers (https://sqs...fifo).',
  ),
  uploads: text(
    'GLIMPSE_UPLOADS',
    'none',
    () => '',
    's3://bucket/prefix for pictures too large for a request: POST /v1/uploads gives an address to send them to.',
  ),
  secrets: text(
    'GLIMPSE_SECRETS',
    'none',
    () => '',
    'Path in the SSM parameter store, such as /glimpse/prod: parameters below it, named like settings, are read at the start.',
  ),
  logFormat: choice('GLIMPSE_LOG', 'text', ['text', 'json'], 'How lines of the log look.'),
  metrics: choice(
    'GLIMPSE_METRICS',
    'prometheus',
    ['prometheus', 'emf'],
    'Metrics at GET /metrics, or, on Lambda, as lines of the log in CloudWatch EMF.',
  ),
  host: {
    ...text(
      'GLIMPSE_HOST',
      '127.0.0.1',
      () => '127.0.0.1',
      'Address to listen on; 0.0.0.0 lets other machines in.',
    ),
    aliases: { [LAMBDA_ENDPOINT]: endpoint('hostname') },
  },
  // Lambda's name before PORT, because it is the whole address; Cloud Run and most others set PORT.
  port: {
    ...integer(
      'GLIMPSE_PORT',
      8080,
      0,
      65_535,
      `Port to listen on; 0 takes a free one. Unset, ${LAMBDA_ENDPOINT} and then PORT are looked at.`,
    ),
    aliases: { [LAMBDA_ENDPOINT]: endpoint('port'), PORT: (text: string) => text },
  },
  allowedHosts: text(
    'GLIMPSE_ALLOWED_HOSTS',
    'none',
    () => '',
    'Further names the server may be called by, separated by commas.',
  ),
  maxQueue: integer(
    'GLIMPSE_MAX_QUEUE',
    8,
    1,
    10_000,
    'Asks that may wait before others are told to come back.',
  ),
  deadlineMs: integer(
    'GLIMPSE_DEADLINE_MS',
    120_000,
    100,
    HOUR_MS,
    'Milliseconds an ask may take, waiting included.',
  ),
  state: text(
    'GLIMPSE_STATE',
    '~/.local/state/glimpse',
    () => join(homedir(), '.local', 'state', 'glimpse'),
    'Folder, or s3://bucket/prefix, for what must outlive a restart: what threads are about, what people chose.',
  ),
  keepHours: integer(
    'GLIMPSE_KEEP_HOURS',
    24,
    1,
    24 * 365,
    'Hours after which a thread is forgotten: its questions, its answers and what the model saw.',
  ),
  asksPerMinute: integer(
    'GLIMPSE_ASKS_PER_MINUTE',
    4,
    1,
    1_000_000,
    'Times one person may ask in a minute, in chats.',
  ),
  asksPerHour: integer(
    'GLIMPSE_ASKS_PER_HOUR',
    20,
    1,
    1_000_000,
    'Times one person may ask in an hour, in chats.',
  ),
  slackBotToken: secret('SLACK_BOT_TOKEN', 'Token of the Slack app: xoxb-...'),
  slackAppToken: secret('SLACK_APP_TOKEN', 'Connects to Slack from here (Socket Mode): xapp-...'),
  slackSigningSecret: secret(
    'SLACK_SIGNING_SECRET',
    'Checks what Slack sends to /slack/events here, in place of SLACK_APP_TOKEN.',
  ),
  slackApiUrl: text(
    'SLACK_API_URL',
    'https://slack.com/api/',
    () => 'https://slack.com/api/',
    'Where Slack is; https://slack-gov.com/api/ for GovSlack.',
  ),
  discordToken: secret('DISCORD_TOKEN', 'Token of the Discord bot.'),
  discordPublicKey: secret(
    'DISCORD_PUBLIC_KEY',
    'Checks what Discord sends to /discord/interactions here, if commands come that way.',
  ),
  discordAnswers: choice(
    'GLIMPSE_DISCORD_ANSWERS',
    'reply',
    ['reply', 'thread'],
    'How a message is answered on Discord: by a reply, or in a thread of its own.',
  ),
  discordMessageContent: choice(
    'GLIMPSE_DISCORD_MESSAGE_CONTENT',
    'off',
    ['off', 'on'],
    'Whether the bot has the Message Content intent: then follow-ups in a thread need no mention.',
  ),
  discordApiUrl: text('DISCORD_API_URL', "Discord's", () => '', 'Where Discord is, for a stand-in.'),
} as const

export type Config = {
  [K in keyof typeof SETTINGS]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never
}

/**
 * Kubernetes sets these for each service of the namespace, also for one named glimpse or glimpse-worker; docker --link sets
 * the same, NAME and ENV_* (kubernetes.io, "Service", "Environment variables"; docs.docker.com, "Legacy container links").
 */
const SERVICE_LINK =
  /^GLIMPSE(_[A-Z0-9_]+)?_(SERVICE_HOST=[\da-f.:]+|SERVICE_PORT(_[A-Z0-9_]+)?=\d+|PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp):\/\/\S+:\d+|PORT_\d+_(TCP|UDP|SCTP)_(PROTO=(tcp|udp|sctp)|PORT=\d+|ADDR=[\da-f.:]+)|NAME=\/\S+\/\S+|ENV_\w+=.*)$/s

type Environment = Readonly<Record<string, string | undefined>>

/** `more`: settings from elsewhere, such as secrets, that stand over the environment's. Throws SetupError `bad_settings`. */
export function readConfig(here?: Environment, more?: Record<string, string>): Config {
  const { config, problems } = parseConfig(here, more)
  if (problems.length === 0) return config
  throw new SetupError(
    'bad_settings',
    `Expected settings as \`glimpse --help\` lists them but: ${problems.join('; ')}.`,
  )
}

/** The same without throwing: a bad value becomes the default and a line of `problems`; `count` of settings are set. */
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
    // An empty variable is how compose files and shells leave a setting out.
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

/** Names of the settings that are secrets, as the environment or the parameter store has them. */
export const SECRET_NAMES: readonly string[] = Object.values(SETTINGS)
  .filter((setting) => 'isSecret' in setting)
  .map(({ env }) => env)

/** For a process that decodes strangers' pictures: it needs no token. */
export function withoutSecrets(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(ENVIRONMENT).filter(([name]) => !SECRET_NAMES.includes(name)))
}

/** What no log line may hold: the values of all settings that are secrets. */
export function secretsOf(config: Config): string[] {
  const secrets = Object.entries(SETTINGS).filter(([, setting]) => 'isSecret' in setting)
  return secrets.map(([name]) => String(config[name as keyof Config])).filter((value) => value !== '')
}
