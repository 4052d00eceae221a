// What AWS says of the account, for `glimpse deploy-check`: it reads, and creates nothing.

import {
  BatchGetImageCommand,
  ECRClient,
  GetDownloadUrlForLayerCommand,
  RepositoryNotFoundException,
} from '@aws-sdk/client-ecr'
import {
  GetAccountSettingsCommand,
  GetFunctionConcurrencyCommand,
  LambdaClient,
  type LambdaClientConfig,
  ResourceNotFoundException,
} from '@aws-sdk/client-lambda'
import { paginateListServiceQuotas, ServiceQuotasClient } from '@aws-sdk/client-service-quotas'
import { z } from 'zod'
import { defaultRegion, readSecrets, secretsBelow } from '../app/secrets.ts'
import { modelBucket, readManifest } from '../transfer/fetch.ts'
import type { Account, Image } from './deploy.ts'

/** Manifests of one image, and lists of several. */
const MANIFESTS = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.index.v1+json',
]
const manifestSchema = z.object({ config: z.object({ digest: z.string() }).optional() })
const configSchema = z.object({ os: z.string(), architecture: z.string() })

/** `options`: of each client, in tests. */
export function openAccount(
  region: string,
  options: Pick<LambdaClientConfig, 'endpoint' | 'credentials'> = {},
): Account {
  const given = { ...options, region }
  return {
    defaultRegion,
    secrets: async (path, where) =>
      Object.keys(
        await secretsBelow(path, undefined, (below, names) =>
          readSecrets(below, names, { ...given, region: where }),
        ),
      ),
    async concurrency(functions) {
      const client = new LambdaClient(given)
      const { AccountLimit } = await client.send(new GetAccountSettingsCommand({}))
      let own = 0
      for (const FunctionName of functions) {
        const { ReservedConcurrentExecutions = 0 } = await client
          .send(new GetFunctionConcurrencyCommand({ FunctionName }))
          .catch((error: unknown) => {
            if (error instanceof ResourceNotFoundException) return { ReservedConcurrentExecutions: 0 }
            throw error
          })
        own += ReservedConcurrentExecutions
      }
      return {
        limit: AccountLimit?.ConcurrentExecutions ?? 0,
        unreserved: AccountLimit?.UnreservedConcurrentExecutions ?? 0,
        own,
      }
    },
    async quota(ServiceCode, name) {
      const client = new ServiceQuotasClient(given)
      for await (const { Quotas = [] } of paginateListServiceQuotas({ client }, { ServiceCode })) {
        const found = Quotas.find(({ QuotaName }) => QuotaName === name)
        if (found) return found.Value ?? 0
      }
      return undefined
    },
    async image(registryId, repositoryName, imageDigest): Promise<Image | undefined> {
      const client = new ECRClient(given)
      const where = { registryId, repositoryName }
      const wanted = { ...where, imageIds: [{ imageDigest }], acceptedMediaTypes: MANIFESTS }
      const { images = [] } = await client.send(new BatchGetImageCommand(wanted)).catch((error: unknown) => {
        if (error instanceof RepositoryNotFoundException) return { images: [] }
        throw error
      })
      const [image] = images
      if (!image) return undefined
      const { config } = manifestSchema.parse(JSON.parse(image.imageManifest ?? '{}'))
      const mediaType = image.imageManifestMediaType ?? 'unknown'
      if (!config) return { mediaType }
      const { downloadUrl } = await client.send(
        new GetDownloadUrlForLayerCommand({ ...where, layerDigest: config.digest }),
      )
      const response = await fetch(downloadUrl!)
      const { os, architecture } = configSchema.parse(await response.json())
      return { mediaType, platform: `${os}/${architecture}` }
    },
    async model(location) {
      const { manifest } = await readManifest(modelBucket(location, given))
      return {
        name: manifest.name,
        isForCpu: manifest.recipe.some(({ format }) => format.kind === 'tokens'),
      }
    },
  }
}
