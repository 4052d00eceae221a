// docs/operate.md names every metric and every alarm. Every page of docs/ names only existing commands, files and settings.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import * as ecr from '@aws-sdk/client-ecr'
import * as lambda from '@aws-sdk/client-lambda'
import * as sqs from '@aws-sdk/client-sqs'
import * as ssm from '@aws-sdk/client-ssm'
import { expect, test } from 'vitest'
import { SETTINGS } from '../../src/config.ts'
import { metricsText, resetMetrics } from '../../src/observe/metrics.ts'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const DOCS = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'))
const RUNBOOK = read('docs/operate.md')
const RULES = read('deploy/alerts.yml')

async function metrics(): Promise<string[]> {
  resetMetrics()
  return [...(await metricsText()).text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!)
}

test('the runbook names every metric', async () => {
  const names = await metrics()
  expect(names.length).toBeGreaterThan(10)
  expect(names.filter((name) => !RUNBOOK.includes(`\`${name}\``))).toEqual([])
})

test('Prometheus rules use only existing metrics, and each alert has a row in the runbook', async () => {
  const used = new Set([...RULES.matchAll(/glimpse_[a-z_]+/g)].map(([name]) => name))
  const names = await metrics()
  expect([...used].filter((name) => !names.includes(name))).toEqual([])
  const alerts = [...RULES.matchAll(/alert: (\w+)/g)].map(([, name]) => name!)
  expect(alerts.length).toBeGreaterThan(4)
  expect(alerts.filter((name) => !RUNBOOK.includes(`\`${name}\``))).toEqual([])
})

/** Templates with CloudWatch alarms. */
const TEMPLATES = ['alarms', 'budget', 'gpu-sagemaker', 'gpu-lambda', 'gpu-none'].map(
  (name) => `deploy/${name}.yml`,
)
test('every CloudWatch alarm has a row in the runbook', () => {
  const alarms = TEMPLATES.flatMap((path) => [
    ...read(path).matchAll(/^ {2,4}(\w+):\n +Type: AWS::CloudWatch::Alarm/gm),
  ]).map(([, name]) => name!)
  expect(alarms.length).toBeGreaterThan(9)
  expect(alarms.filter((name) => !RUNBOOK.includes(`\`${name}\``))).toEqual([])
})

test('the dashboard searches for existing metrics by the one dimension that functions write', async () => {
  const searches = [...read('deploy/alarms.yml').matchAll(/SEARCH\('\{(.*?)\} (\w+)'/g)]
  expect(searches.length).toBeGreaterThan(3)
  expect([...new Set(searches.map(([, dimensions]) => dimensions))]).toEqual(['Glimpse,function'])
  const names = await metrics()
  expect(searches.map(([, , name]) => name!).filter((name) => !names.includes(name))).toEqual([])
})

test('every command in the pages exists', () => {
  const help = execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), '--help'], {
    encoding: 'utf8',
  })
  const commands = DOCS.flatMap((name) =>
    [...read(`docs/${name}`).matchAll(/npx glimpse ([\w-]+)/g)].map(([, command]) => ({ name, command })),
  )
  expect(commands.length).toBeGreaterThan(10)
  expect(commands.filter(({ command }) => !help.includes(`\n  ${command} `))).toEqual([])
})

/** Commands of AWS's command line by the SDK's client of the service, which has a class for each. */
const SERVICES = { sqs, lambda, ssm, ecr }
test('every command of AWS in the pages exists', () => {
  const used = DOCS.flatMap((name) =>
    [...read(`docs/${name}`).matchAll(/\baws (sqs|lambda|ssm|ecr) ([a-z-]+)/g)].map(
      ([, service, command]) => ({
        service: service as keyof typeof SERVICES,
        command: command!.replace(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase()),
      }),
    ),
  )
  expect(used.length).toBeGreaterThan(5)
  // The command line makes a password of GetAuthorizationToken.
  const isOwn = ({ command }: { command: string }) => command === 'GetLoginPassword'
  expect(
    used
      .filter((each) => !isOwn(each))
      .filter(({ service, command }) => !(`${command}Command` in SERVICES[service])),
  ).toEqual([])
})

test('every script of npm and every command of serverless in the pages exists', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const text = DOCS.map((name) => read(`docs/${name}`)).join('\n')
  const run = [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!)
  expect(run.filter((name) => !(name in scripts))).toEqual([])
  const known = ['package', 'deploy', 'deploy list', 'rollback', 'remove']
  const schema = createRequire(import.meta.url)('serverless/lib/cli/commands-schema/aws-service') as Map<
    string,
    object
  >
  expect(known.filter((name) => !schema.has(name))).toEqual([])
  const called = [...text.matchAll(/npx serverless ([a-z]+(?: list)?)/g)].map(([, name]) => name!)
  expect(called.length).toBeGreaterThan(4)
  expect(called.filter((name) => !known.includes(name))).toEqual([])
})

test('every command of serverless that reaches AWS names its stage: without one it is that of another stack, dev', () => {
  const pages = [...DOCS.map((name) => `docs/${name}`), 'README.md', 'serverless.yml']
  const called = pages.flatMap((page) => read(page).match(/npx serverless (?!package)\w[^\n`]*/g) ?? [])
  expect(called.length).toBeGreaterThan(6)
  expect(called.filter((command) => !/ --stage /.test(command))).toEqual([])
})

test('the unit of systemd names existing settings, files and a command', () => {
  const unit = read('deploy/glimpse.service')
  const known = new Set<string>(Object.values(SETTINGS).map(({ env }) => env))
  const named = [...unit.matchAll(/\bGLIMPSE_[A-Z_]+/g)].map(([setting]) => setting)
  expect(named.length).toBeGreaterThan(2)
  expect(named.filter((setting) => !known.has(setting))).toEqual([])
  expect(unit).toMatch(/^ExecStart=\/usr\/bin\/node \/opt\/glimpse\/dist\/cli\/main\.js serve$/m)
  // Each folder that it writes to is one that systemd creates: the rest of the file system is read-only.
  const folders = [...unit.matchAll(/=(\/var\/\w+\/\w+)/g)].map(([, folder]) => folder!)
  expect([...new Set(folders)].sort()).toEqual(['/var/cache/glimpse', '/var/lib/glimpse'])
  expect(unit).toMatch(/^StateDirectory=glimpse\nCacheDirectory=glimpse$/m)
  for (const file of unit.match(/(?<= )deploy\/[\w.]+/g) ?? [])
    expect(existsSync(join(ROOT, file))).toBe(true)
})

test.each(DOCS)('every file that %s links to exists', (name) => {
  const links = [...read(`docs/${name}`).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, link]) => link!)
  const local = links.filter((link) => !link.startsWith('https://'))
  expect(local.filter((link) => !existsSync(join(ROOT, 'docs', link)))).toEqual([])
})

test.each(DOCS)('every anchor that %s links to is a heading of it', (name) => {
  const text = read(`docs/${name}`)
  const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  )
  const wanted = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor!)
  expect(wanted.filter((anchor) => !anchors.includes(anchor))).toEqual([])
})

test.each(DOCS)('every setting that %s names exists', (name) => {
  const known = new Set<string>(Object.values(SETTINGS).map(({ env }) => env))
  const named = [...read(`docs/${name}`).matchAll(/\bGLIMPSE_[A-Z_]+/g)].map(([setting]) => setting)
  expect(named.filter((setting) => !known.has(setting))).toEqual([])
})
