// A third-party Slack server: the pinned `emulate` package, in its own process. Messages over the parent's channel:
// {listen: {events url}} -> {url, botToken, ...}.
//
// The package imports a function of newer Node versions (module.registerHooks) that its Slack never calls; a resolve hook
// provides one, so that the package stays unmodified. It has no public way to set the URL of events: `register` of its
// Slack is wrapped to find the dispatcher. Both depend on internals, hence the pinned version.

import { readdirSync } from 'node:fs'
import { register } from 'node:module'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const SHIM = `
export * from 'node:module'
export const registerHooks = () => { throw new Error('not in this Node') }
export const stripTypeScriptTypes = registerHooks
`
const HOOK = `
const shim = 'data:text/javascript,' + encodeURIComponent(${JSON.stringify(SHIM)})
export async function resolve(specifier, context, next) {
  const fromPeer = context.parentURL?.includes('/node_modules/emulate/')
  if (fromPeer && (specifier === 'module' || specifier === 'node:module')) return { url: shim, shortCircuit: true }
  return next(specifier, context)
}
`
register(`data:text/javascript,${encodeURIComponent(HOOK)}`)

const { baseUrl, seed, signingSecret } = JSON.parse(process.argv[2])
const dist = dirname(fileURLToPath(import.meta.resolve('emulate')))
const modules = await Promise.all(
  readdirSync(dist)
    .filter((name) => /^dist-.*\.js$/.test(name))
    .map((name) => import(pathToFileURL(join(dist, name)).href)),
)
const slack = modules.find((module) => module.slackPlugin).slackPlugin
let webhooks
const original = slack.register
slack.register = (app, store, hooks, ...rest) => {
  webhooks = hooks
  return original.call(slack, app, store, hooks, ...rest)
}
const { createEmulator } = await import('emulate')
const free = await new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => resolve(port))
  })
})
await createEmulator({
  service: 'slack',
  port: free,
  baseUrl,
  seed: { slack: { ...seed, signing_secret: signingSecret } },
})
process.on('message', ({ eventsUrl }) => {
  webhooks.register({ url: eventsUrl, events: ['*'], active: true, owner: 'slack' })
  process.send({ listening: true })
})
// The process that started this one may have been killed.
process.on('disconnect', () => process.exit())
process.send({ url: `http://127.0.0.1:${free}` })
