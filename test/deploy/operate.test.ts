// docs/operate.md names every metric and every alarm. Every page of docs/ names only existing commands, files and settings.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
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
const TEMPLATES = ['alarms', 'budget', 'gpu-sagemaker', 'gpu-lambda'].map((name) => `deploy/${name}.yml`)
test.skipIf(TEMPLATES.some((path) => !existsSync(join(ROOT, path))))(
  'every CloudWatch alarm has a row in the runbook',
  () => {
    const alarms = TEMPLATES.flatMap((path) => [
      ...read(path).matchAll(/^ {2,4}(\w+):\n +Type: AWS::CloudWatch::Alarm/gm),
    ]).map(([, name]) => name!)
    expect(alarms.length).toBeGreaterThan(9)
    expect(alarms.filter((name) => !RUNBOOK.includes(`\`${name}\``))).toEqual([])
  },
)

test('every command in the pages exists', () => {
  const help = execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), '--help'], {
    encoding: 'utf8',
  })
  const commands = DOCS.flatMap((name) =>
    [...read(`docs/${name}`).matchAll(/npx glimpse (\w+)/g)].map(([, command]) => ({ name, command })),
  )
  expect(commands.length).toBeGreaterThan(10)
  expect(commands.filter(({ command }) => !help.includes(`\n  ${command} `))).toEqual([])
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
