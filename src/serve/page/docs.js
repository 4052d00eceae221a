// /openapi.json -> a page that people read: routes by group, with their fields, responses and a command to try.

const METHODS = ['get', 'post', 'put', 'delete']

const response = await fetch('openapi.json')
const api = await response.json()
const main = document.getElementById('main')
document.getElementById('about').textContent = `${api.info.summary} Version ${api.info.version}.`

/** An element with these properties and children. */
function h(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties)
  element.append(...children.flat().filter((child) => child !== undefined))
  return element
}

function resolved(schema = {}) {
  if (!schema.$ref) return schema
  return schema.$ref
    .slice(2)
    .split('/')
    .reduce((at, key) => at[key], api)
}

/** `string`, `array of integer`, `"a" or "b"`. */
function typeOf(given, depth = 0) {
  const schema = resolved(given)
  if ('const' in schema) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' or ')
  if (schema.anyOf || schema.oneOf) {
    const types = (schema.anyOf ?? schema.oneOf).map((one) => typeOf(one, depth + 1))
    return [...new Set(types)].join(' or ')
  }
  if (schema.contentMediaType) return 'file'
  if (schema.contentEncoding) return schema.contentEncoding
  if (schema.type === 'array') return `list of ${depth > 3 ? '...' : typeOf(schema.items, depth + 1)}`
  return schema.type ?? 'any'
}

function limitsOf(given) {
  const { minimum, maximum, maxLength, minItems, maxItems, default: preset } = resolved(given)
  return [
    minimum !== undefined && `from ${minimum}`,
    maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER && `to ${maximum}`,
    maxLength !== undefined && `at most ${maxLength} characters`,
    minItems > 1 && `at least ${minItems}`,
    maxItems !== undefined && `at most ${maxItems}`,
    preset !== undefined && `default ${JSON.stringify(preset)}`,
  ]
    .filter(Boolean)
    .join(', ')
}

function fieldsTable(given, required = []) {
  const rows = Object.entries(given).map(([name, schema]) => {
    const { description = '', properties } = resolved(schema)
    const notes = [schema.description ?? description, limitsOf(schema)].filter(Boolean).join('; ')
    const inner = properties && h('details', {}, h('summary', {}, 'its fields'), fieldsTable(properties))
    return h(
      'tr',
      {},
      h('th', { scope: 'row' }, h('code', {}, name), required.includes(name) ? ' (required)' : ''),
      h('td', { className: 'soft' }, typeOf(schema)),
      h('td', {}, notes, inner),
    )
  })
  const head = h('tr', {}, ...['field', 'type', 'meaning'].map((text) => h('th', { scope: 'col' }, text)))
  return h(
    'div',
    { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: 'Fields' },
    h('table', {}, h('thead', {}, head), h('tbody', {}, rows)),
  )
}

function schemaView(given) {
  const schema = resolved(given)
  const alternatives = (schema.anyOf ?? []).map(resolved).filter(({ properties }) => properties)
  const all = schema.properties ? [schema] : alternatives
  return all.map(({ properties, required }) => fieldsTable(properties, required))
}

function exampleOf(method, path, { value }) {
  const body = JSON.stringify(value)
  return h(
    'pre',
    { tabIndex: 0 },
    `curl -X ${method.toUpperCase()} -H 'content-type: application/json' ${new URL(`.${path}`, location.href)} \\\n  -d '${body.replaceAll("'", "'\\''")}'`,
  )
}

function operationView(path, method, operation) {
  const { summary, description, parameters = [], requestBody, responses, security } = operation
  const parts = [description && h('p', {}, description)]
  if (security?.length > 0) parts.push(h('p', { className: 'soft' }, 'Needs the token where one is set.'))
  const named = parameters.map(resolved)
  if (named.length > 0) {
    const fields = named.map((one) => [
      `${one.name} (${one.in})`,
      { ...one.schema, description: one.schema.description ?? one.description },
    ])
    const table = fieldsTable(Object.fromEntries(fields))
    parts.push(h('details', {}, h('summary', {}, 'Parameters'), table))
  }
  const content = requestBody?.content ?? {}
  if (requestBody) parts.push(h('h3', {}, `Body: ${Object.keys(content).join(', ')}`))
  const json = content['application/json']
  if (json) parts.push(...schemaView(json.schema))
  for (const example of Object.values(json?.examples ?? {})) parts.push(exampleOf(method, path, example))
  parts.push(h('h3', {}, 'Responses'))
  for (const [status, { description: meaning, content: bodies = {} }] of Object.entries(responses)) {
    const views = Object.entries(bodies).map(([type, body]) => [
      h('p', { className: 'soft' }, type, body.schema?.description ? `: ${body.schema.description}` : ''),
      ...schemaView(body.schema),
    ])
    parts.push(h('details', {}, h('summary', {}, h('code', {}, status), ` ${meaning}`), views.flat()))
  }
  const title = h(
    'summary',
    {},
    h('span', { className: 'method' }, method.toUpperCase()),
    ' ',
    h('code', {}, path),
    h('span', { className: 'soft' }, ` ${summary}`),
  )
  return h('details', { className: 'operation', id: operation.operationId }, title, h('div', {}, parts))
}

const sections = api.tags.map(({ name, description }) => {
  const views = Object.entries(api.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]?.tags.includes(name)).map((method) =>
      operationView(path, method, methods[method]),
    ),
  )
  document.getElementById('groups').append(h('li', {}, h('a', { href: `#${name}` }, name)))
  return h('section', {}, h('h2', { id: name }, name), h('p', { className: 'soft' }, description), views)
})
main.replaceChildren(...sections)
main.removeAttribute('aria-busy')
const linked = document.getElementById(location.hash.slice(1))
if (linked?.tagName === 'DETAILS') linked.open = true
linked?.scrollIntoView()
