// Serverless plugin: bundles the handlers and builds the layers before packaging, so that `npx serverless package` is the
// only command, and refuses to deploy a template that still has a placeholder.

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
    this.checkParams()
    const code = await bundle()
    checkSizes(buildLayers(ARCHITECTURES[provider.architecture]), code)
    this.keepLayersWithDeployment()
  }

  /**
   * Each deployment uploads its own layers, and its template names them. osls would let it name the files of an earlier
   * deployment with the same layers. These are deleted with that deployment, and then a rollback to the template fails. It would
   * also need an account to package.
   */
  keepLayersWithDeployment() {
    const { service, pluginManager } = this.serverless
    const compiler = pluginManager.plugins.find((plugin) => plugin.constructor.name === 'AwsCompileLayers')
    if (!compiler?.compareWithLastLayer) {
      throw new Error(
        'osls has no AwsCompileLayers.compareWithLastLayer, which osls 4 has. Install osls 4, or change deploy/plugin.mjs.',
      )
    }
    compiler.compareWithLastLayer = async (layerName) => {
      // Differs with each deployment, so that one without a change would not be recognized.
      delete service.provider.compiledCloudFormationTemplate.Outputs[
        compiler.provider.naming.getLambdaLayerS3KeyOutputLogicalId(layerName)
      ]
    }
  }

  /** @throws Error for parameters with which the stack would lose threads, or run another image than the one that was checked */
  checkParams() {
    const { custom, functions, resources } = this.serverless.service
    const { image, keepHours, expireDays } = custom.checked
    if (!(Number(keepHours) <= 24 * Number(expireDays))) {
      throw new Error(
        `Expected keepHours of at most expireDays (${expireDays} days) but got ${keepHours} hours: the bucket would delete threads that are still continued. Raise expireDays.`,
      )
    }
    const isUsed = JSON.stringify([functions, resources]).includes(image)
    if (isUsed && !/@sha256:[0-9a-f]{64}$/.test(image)) {
      throw new Error(
        `Expected param image by its digest (...@sha256:...) but got ${image}: a tag can change between a deployment and the start of an instance.`,
      )
    }
  }

  /** @throws Error for a template that still has a placeholder of serverless.yml. */
  checkPlaceholders() {
    const template = JSON.stringify(this.serverless.service.provider.compiledCloudFormationTemplate)
    const [found] = Object.entries(PLACEHOLDERS).filter(([text]) => template.includes(text))
    if (!found) return
    throw new Error(
      `The template has the placeholder ${found[0]}. Pass your ${found[1]}, or --param gpu=embedded, which needs none. See docs/deploy.md.`,
    )
  }
}
