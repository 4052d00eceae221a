// The manifests of deploy/kubernetes/: valid for Kubernetes and KEDA, without unknown fields, and right about Glimpse.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as keda from '@kubernetes-models/keda/keda.sh/v1alpha1'
import * as apps from 'kubernetes-models/apps/v1'
import * as policy from 'kubernetes-models/policy/v1'
import * as core from 'kubernetes-models/v1'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { SECRET_NAMES, SETTINGS } from '../../src/config.ts'
import { HEALTH_PATHS } from '../../src/serve/health.ts'

const ROOT = join(import.meta.dirname, '../..')
const FOLDER = join(ROOT, 'deploy/kubernetes')
interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string }
  // biome-ignore lint/suspicious/noExplicitAny: checked by the models.
  spec: any
  data?: Record<string, string>
}
const read = (file: string) =>
  parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8')).map((each) => each.toJS() as Manifest)
const FILES = readdirSync(FOLDER)
const ALL = FILES.flatMap(read)

const MODELS: Record<string, object> = {
  v1: core,
  'apps/v1': apps,
  'policy/v1': policy,
  'keda.sh/v1alpha1': keda,
}
type Model = new (manifest: object) => { validate(): void }

/**
 * Problems of a manifest. The models' validators read every field that they know, so that a field that is never read is
 * unknown to Kubernetes.
 */
function problemsOf(manifest: Manifest): string[] {
  const unread = new Set<string>()
  const watched = (value: object, path: string): object => {
    for (const key of Object.keys(value)) unread.add(`${path}.${key}`)
    return new Proxy(value, {
      get(target, key, receiver) {
        const found: unknown = Reflect.get(target, key, receiver)
        if (typeof key === 'string') unread.delete(`${path}.${key}`)
        return typeof found === 'object' && found !== null
          ? watchedOnce(found, `${path}.${String(key)}`)
          : found
      },
    })
  }
  const proxies = new Map<object, object>()
  const watchedOnce = (value: object, path: string) => {
    const known = proxies.get(value) ?? watched(value, path)
    proxies.set(value, known)
    return known
  }
  const Class = (MODELS[manifest.apiVersion] as Record<string, Model> | undefined)?.[manifest.kind]
  if (!Class) return [`no model for ${manifest.apiVersion} ${manifest.kind}`]
  const model = Object.assign(Object.create(Class.prototype), watchedOnce(manifest, '')) as {
    validate(): void
  }
  try {
    model.validate()
  } catch (error) {
    return [(error as Error).message]
  }
  return [...unread].map((path) => `unknown field ${path}`)
}

describe.each(FILES)('%s', (file) => {
  test('is valid', () => {
    for (const manifest of read(file)) expect(problemsOf(manifest), manifest.metadata.name).toEqual([])
  })
})

test('the checker finds wrong values, missing fields and unknown fields', () => {
  const [work] = read('work.yaml') as [Manifest]
  const change = (edit: (spec: Manifest['spec']) => void) => {
    const changed = structuredClone(work)
    edit(changed.spec)
    return problemsOf(changed).join()
  }
  expect(change((spec) => (spec.replicas = 'two'))).toContain('replicas')
  expect(change((spec) => delete spec.template)).toContain('template')
  expect(change((spec) => (spec.template.spec.containers[0].livenesProbe = {}))).toContain('livenesProbe')
  expect(problemsOf({ ...work, kind: 'Deploy' })).toEqual(['no model for apps/v1 Deploy'])
})

const deployment = (name: string) =>
  ALL.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === `glimpse-${name}`)!.spec
const containerOf = (name: string) => deployment(name).template.spec.containers[0]
const ROLES = ['listen', 'work', 'serve']

test.each(ROLES)('%s: its command, probes, drain and rights', (name) => {
  const { spec } = deployment(name).template
  const container = containerOf(name)
  expect(container.args).toEqual([name])
  expect(container.image).toMatch(/@sha256:[0-9a-f]{64}$/)
  const probes = ['readinessProbe', 'livenessProbe', 'startupProbe'].flatMap(
    (probe) => container[probe] ?? [],
  )
  expect(probes.length).toBeGreaterThan(1)
  for (const { httpGet } of probes) expect(HEALTH_PATHS.has(httpGet.path)).toBe(true)
  // Processes end within 8 s of SIGTERM.
  const sleep = container.lifecycle?.preStop.sleep.seconds ?? 0
  expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(sleep + 10)
  expect(spec.securityContext).toMatchObject({
    runAsNonRoot: true,
    seccompProfile: { type: 'RuntimeDefault' },
  })
  expect(container.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  })
})

test('one process listens, serve has no chat tokens, and only KEDA scales the work', () => {
  expect(deployment('listen')).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } })
  expect(JSON.stringify(deployment('serve'))).not.toContain('glimpse-chats')
  expect(deployment('serve').template.spec.containers[0].envFrom).toBeUndefined()
  expect(deployment('work').replicas).toBeUndefined()
  const scaled = ALL.find(({ kind }) => kind === 'ScaledObject')!.spec
  expect(scaled.scaleTargetRef.name).toBe('glimpse-work')
  const { data } = ALL.find(({ kind }) => kind === 'ConfigMap')!
  expect(scaled.triggers[0].metadata).toMatchObject({
    queueURL: data!['GLIMPSE_QUEUE'],
    awsRegion: data!['AWS_REGION'],
  })
  const authentication = scaled.triggers[0].authenticationRef.name
  expect(
    ALL.some(({ kind, metadata }) => kind === 'TriggerAuthentication' && metadata.name === authentication),
  ).toBe(true)
})

test('the work runs on a GPU and refuses to run without one', () => {
  const { spec } = deployment('work').template
  expect(spec.nodeSelector).toEqual({ 'nvidia.com/gpu.present': 'true' })
  expect(spec.tolerations).toEqual([{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }])
  expect(containerOf('work').resources.limits['nvidia.com/gpu']).toBe(1)
  expect(containerOf('work').env).toContainEqual({ name: 'GLIMPSE_PROVIDER_MISSING', value: 'fail' })
})

test('every name of a setting or a secret exists', () => {
  const known = new Set<string>([
    ...Object.values(SETTINGS).map(({ env }) => env),
    ...SECRET_NAMES,
    'AWS_REGION',
  ])
  const texts = FILES.map((file) => readFileSync(join(FOLDER, file), 'utf8')).join('\n')
  const literals = [...texts.matchAll(/--from-literal=(\w+)=/g)].map(([, name]) => name!)
  const named = [
    ...Object.keys(ALL.find(({ kind }) => kind === 'ConfigMap')!.data!),
    ...ROLES.flatMap((role) => (containerOf(role).env ?? []).map((each: { name: string }) => each.name)),
    ...literals,
    ...[...texts.matchAll(/\bGLIMPSE_[A-Z_]+/g)].map(([name]) => name),
  ]
  expect(literals.length).toBeGreaterThan(3)
  expect(named.filter((name) => !known.has(name))).toEqual([])
})

test('everything that a pod refers to is there, in one namespace', () => {
  const has = (kind: string, name: string) =>
    ALL.some((each) => each.kind === kind && each.metadata.name === name)
  for (const role of ROLES) {
    const { spec } = deployment(role).template
    expect(has('ServiceAccount', spec.serviceAccountName)).toBe(true)
    const volumes = spec.volumes.map((each: { name: string }) => each.name)
    for (const { name } of containerOf(role).volumeMounts) expect(volumes).toContain(name)
    for (const { configMapRef } of containerOf(role).envFrom ?? [])
      if (configMapRef) expect(has('ConfigMap', configMapRef.name)).toBe(true)
  }
  const outside = ALL.filter(({ kind, metadata }) => kind !== 'Namespace' && metadata.namespace !== 'glimpse')
  expect(outside).toEqual([])
})

test('deploy/state.mjs prints the bucket and the queues of deploy/state.yml, with a policy for both', () => {
  const printed = execFileSync(process.execPath, [join(ROOT, 'deploy/state.mjs'), 'mine'], {
    encoding: 'utf8',
  })
  const parsed = (text: string) => parse(text, { logLevel: 'silent' })
  const { Resources, Outputs } = parsed(printed)
  const { Policy, ...rest } = Resources
  expect(printed).not.toMatch(/\$\{(self|param|sls):/)
  const own = parsed(readFileSync(join(ROOT, 'deploy/state.yml'), 'utf8')).Resources
  expect(Object.keys(rest)).toEqual(Object.keys(own))
  expect(rest.StateBucketPolicy).toEqual(own.StateBucketPolicy)
  expect(rest.Questions.Properties).toMatchObject({ QueueName: 'mine-questions.fifo', VisibilityTimeout: 60 })
  expect(Policy.Properties.PolicyDocument.Statement).toHaveLength(3)
  expect(Object.keys(Outputs)).toEqual(['StateBucket', 'Questions', 'Policy'])
})
