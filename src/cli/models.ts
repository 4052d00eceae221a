// glimpse models, glimpse models rm <owner/name>

import { Command } from 'commander'
import { readConfig } from '../config.ts'
import { megabytes } from '../units.ts'

const HELP = `
Models that --model owner/name or GLIMPSE_MODEL=owner/name made are kept in
GLIMPSE_CACHE.

Examples:
  $ npx glimpse caption --model Salesforce/blip2-opt-2.7b photo.jpg
  $ npx glimpse models
  $ npx glimpse models rm Salesforce/blip2-opt-2.7b
`

export function modelsCommand(): Command {
  const command = new Command('models')
    .description('lists the models from the hub that are kept, or removes one')
    .option('--json', 'one line of JSON for each model', false)
    .addHelpText('after', HELP)
    .action(async ({ json }: { json: boolean }) => {
      const { listModels } = await import('../app/hub-models.ts')
      const models = await listModels(readConfig().cacheFolder)
      if (json) for (const model of models) process.stdout.write(`${JSON.stringify(model)}\n`)
      else if (models.length === 0)
        process.stdout.write('No model is kept. Name one with --model owner/name.\n')
      else
        for (const { name, revision, precision, bytes } of models)
          process.stdout.write(`${name}  ${revision}  ${precision}  ${megabytes(bytes)}\n`)
    })
  command
    .command('rm')
    .description('removes a kept model, at every precision and revision')
    .argument('<owner/name>', 'a name that `glimpse models` lists')
    .action(async (name: string) => {
      const { removeModel } = await import('../app/hub-models.ts')
      const removed = await removeModel(readConfig().cacheFolder, name)
      const bytes = removed.reduce((sum, model) => sum + model.bytes, 0)
      process.stdout.write(`Removed ${name}: ${megabytes(bytes)}\n`)
    })
  return command
}
