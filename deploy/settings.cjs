// deploy/defaults.yml and deploy/stages/<stage>.yml -> the parameters of a deployment. `serverless` calls this file.

const { existsSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const { parse } = require('yaml')

/** @throws Error for a stage's parameter that deploy/defaults.yml does not have */
module.exports = async ({ resolveVariable }) => {
  const stage = await resolveVariable('sls:stage')
  const defaults = read('defaults.yml')
  const name = `stages/${stage}.yml`
  const own = existsSync(join(__dirname, name)) ? read(name) : {}
  for (const key of Object.keys(own)) {
    if (key in defaults) continue
    throw new Error(`Expected a parameter of deploy/defaults.yml but deploy/${name} has ${key}. Correct its name.`)
  }
  return { ...defaults, ...own }
}

function read(name) {
  return parse(readFileSync(join(__dirname, name), 'utf8')) ?? {}
}
