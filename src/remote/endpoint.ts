// GLIMPSE_ENGINE=sagemaker://endpoint?bucket=name&prefix=sagemaker -> the endpoint and where its requests are.

import { SetupError } from '../errors.ts'

export interface Endpoint {
  name: string
  bucket: string
  /** First part of each key, without slashes at its ends. Default `sagemaker`. */
  prefix: string
  /** `&notice=sns`: the endpoint notifies the function `notice`, so that no process waits for a result. */
  hasNotice: boolean
}

/** For errors of the bucket. */
export const PURPOSE = { setting: 'GLIMPSE_ENGINE', code: 'engine_failed' as const, todo: 'Try again.' }

/** @throws SetupError `bad_engine` */
export function parseEndpoint(address: string): Endpoint {
  const [, name, query] = /^sagemaker:\/\/([A-Za-z0-9-]+)\/?\?(.+)$/.exec(address) ?? []
  const fields = new URLSearchParams(query)
  const bucket = fields.get('bucket')
  if (name === undefined || bucket === null) {
    throw new SetupError(
      'bad_engine',
      'Expected GLIMPSE_ENGINE like sagemaker://endpoint?bucket=name&prefix=sagemaker but got another form.',
    )
  }
  const prefix = (fields.get('prefix') ?? 'sagemaker').replace(/^\/+|\/+$/g, '')
  return { name, bucket, prefix, hasNotice: fields.get('notice') === 'sns' }
}
