// deploy/defaults.yml, deploy/stages/<stage>.yml and --param -> the parameters of a deployment. `serverless` calls this file first,
// so that a wrong parameter is named instead of what fails because of it.

const { existsSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const { parse } = require('yaml')

/** @throws Error that names each wrong parameter */
module.exports = async ({ options, resolveVariable }) => {
  const stage = await resolveVariable('sls:stage')
  const defaults = read('defaults.yml')
  const name = `stages/${stage}.yml`
  const own = existsSync(join(__dirname, name)) ? read(name) : {}
  const given = Object.fromEntries((options?.param ?? []).map((each) => split(each)))
  const unknown = [
    ...Object.keys(own).map((key) => [key, `deploy/${name} has ${key}`]),
    ...Object.keys(given).map((key) => [key, `got --param ${key}`]),
  ].flatMap(([key, found]) =>
    key in defaults ? [] : [`Expected a parameter of deploy/defaults.yml but ${found}. Correct its name.`],
  )
  const problems = [...unknown, ...problemsOf({ ...defaults, ...own, ...given })]
  if (problems.length > 0) throw refusal(problems.join('\n    '))
  const params = { ...defaults, ...own }
  // serverless.yml has a null where '' means that nothing is reserved.
  return { ...params, httpConcurrency: params.httpConcurrency === '' ? null : params.httpConcurrency }
}

/** What is wrong with the values of the parameters. */
function problemsOf(params) {
  const forms = Object.entries(read('forms.yml'))
  const problems = forms.flatMap(([key, [pattern, words]]) => {
    const value = String(params[key] ?? '')
    return new RegExp(`^(?:${pattern})$`).test(value) ? [] : [`Expected ${key} to be ${words} but got "${value}".`]
  })
  const { keepHours, expireDays, warmFrom, warmUntil, gpu, gpuHoursADay } = params
  if (Number(keepHours) > 24 * Number(expireDays)) {
    problems.push(
      `Expected keepHours of at most expireDays (${expireDays} days) but got ${keepHours} hours: the bucket would delete threads that are still continued. Raise expireDays.`,
    )
  }
  if (gpu === 'lambda' && Number(gpuHoursADay) > 24) {
    problems.push(
      `Expected gpuHoursADay of at most 24 with gpu=lambda but got ${gpuHoursADay}: its alarm counts the hours in which an instance is up.`,
    )
  }
  if (!warmFrom !== !warmUntil) problems.push('Expected both warmFrom and warmUntil but got one. Set the other.')
  return problems
}

/** An error of which `serverless` prints the message only, because it prints the stack where there is one. */
function refusal(message) {
  const error = new Error(message)
  error.stack = undefined
  return error
}

function split(param) {
  const at = param.indexOf('=')
  return [param.slice(0, at), param.slice(at + 1)]
}

function read(name) {
  return parse(readFileSync(join(__dirname, name), 'utf8')) ?? {}
}
