// What `serverless` does not do by itself: bundles the handlers and builds the layers before packaging, so that
// `npx serverless package` is the only command, and keeps a deployment from starting with a placeholder in it.

import { buildLayers, checkSizes } from '../layers/build.mjs'
import { bundle } from './bundle.mjs'

const PLACEHOLDERS = {
  '000000000000.dkr.ecr.':
    'container image (--param image=<account>.dkr.ecr.<region>.amazonaws.com/glimpse@sha256:...)',
  'https://glimpse.example.com': 'address of the container (--param engineUrl=https://...)',
  'subnet-00000000': 'subnets (--param subnets=subnet-...,subnet-...)',
  'sg-00000000': 'security groups (--param securityGroups=sg-...)',
}
const ARCHITECTURES = { x86_64: 'x64', arm64: 'arm64' }

export default class GlimpsePlugin {
  constructor(serverless) {
    this.serverless = serverless
    this.hooks = {
      'before:package:initialize': () => this.prepare(),
      'before:deploy:deploy': () => this.checkPlaceholders(),
    }
  }

  async prepare() {
    const { provider } = this.serverless.service
    const code = await bundle()
    checkSizes(buildLayers(ARCHITECTURES[provider.architecture]), code)
    if (this.serverless.processedInput.commands[0] !== 'deploy') this.packageOffline()
  }

  /** Layers are compared with the deployed stack's, to upload only new ones: without an account there is none. */
  packageOffline() {
    const { plugins } = this.serverless.pluginManager
    const compiler = plugins.find((plugin) => plugin.constructor.name === 'AwsCompileLayers')
    if (!compiler?.compareWithLastLayer) {
      throw new Error(
        'Expected osls 4 to have AwsCompileLayers.compareWithLastLayer but it has not. See deploy/plugin.mjs.',
      )
    }
    compiler.compareWithLastLayer = async () => {}
  }

  /** @throws Error for a template that still has what stands in serverless.yml for want of yours. */
  checkPlaceholders() {
    const template = JSON.stringify(this.serverless.service.provider.compiledCloudFormationTemplate)
    const [found] = Object.entries(PLACEHOLDERS).filter(([text]) => template.includes(text))
    if (!found) return
    throw new Error(
      `Expected your own ${found[1]} but got the placeholder ${found[0]}. Give it, or take --param gpu=embedded, which needs none; see docs/deploy.md.`,
    )
  }
}
