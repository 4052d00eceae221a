// Serverless plugin: bundles the handlers and builds the layers before packaging, so that `npx serverless package` is the
// only command, and refuses to deploy a template that still has a placeholder.

import { buildLayers, checkSizes } from '../layers/build.mjs'
import { bundle } from './bundle.mjs'

const PLACEHOLDERS = {
  '000000000000.dkr.ecr.': 'image: <account>.dkr.ecr.<region>.amazonaws.com/glimpse@sha256:...',
  'https://glimpse.example.com': 'engineUrl: https://..., the address of the container',
  'subnet-00000000': 'subnets: subnet-...,subnet-...',
  'sg-00000000': 'securityGroups: sg-...',
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

  /** @throws Error for a template that still has a placeholder of serverless.yml. */
  checkPlaceholders() {
    const template = JSON.stringify(this.serverless.service.provider.compiledCloudFormationTemplate)
    const [found] = Object.entries(PLACEHOLDERS).filter(([text]) => template.includes(text))
    if (!found) return
    // An error of this class is printed without its stack.
    const { Error: Refusal = Error } = this.serverless.classes ?? {}
    throw new Refusal(
      `The template has the placeholder ${found[0]}. Set ${found[1]} in the file of the stage in deploy/stages/. Or set gpu: embedded, which needs none. See docs/deploy.md.`,
    )
  }
}
