// The error for a param gpu that has no file deploy/gpu-<gpu>.yml. `serverless` reads this file only then.

const { readdirSync } = require('node:fs')

module.exports = async ({ resolveVariable }) => {
  const gpu = await resolveVariable('param:gpu')
  const known = readdirSync(__dirname).flatMap((name) => /^gpu-(\w+)\.yml$/.exec(name)?.[1] ?? [])
  throw new Error(`Expected --param gpu to be one of ${known.sort().join(', ')} but got ${gpu}.`)
}
