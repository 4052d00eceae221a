// Objects in S3 as SageMaker's asynchronous endpoints take and leave them: plain bytes by address, s3://bucket/key.

import {
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
} from '@aws-sdk/client-s3'

export interface Objects {
  put(address: string, text: string): Promise<void>
  /** Undefined while there is none. */
  get(address: string): Promise<string | undefined>
  remove(address: string): Promise<void>
}

export function openObjects(options: S3ClientConfig = {}): Objects {
  const client = new S3Client(options)
  return {
    async put(address, text) {
      await client.send(
        new PutObjectCommand({ ...placeOf(address), Body: text, ContentType: 'application/json' }),
      )
    },
    async get(address) {
      const found = await client.send(new GetObjectCommand(placeOf(address))).catch((error: unknown) => {
        if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404) return undefined
        throw error
      })
      return await found?.Body?.transformToString()
    },
    async remove(address) {
      await client.send(new DeleteObjectCommand(placeOf(address)))
    },
  }
}

function placeOf(address: string): { Bucket: string; Key: string } {
  const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(address) ?? []
  if (Bucket === undefined || Key === undefined) throw new Error('Expected an address like s3://bucket/key.')
  return { Bucket, Key }
}
