// `owner/name` and a revision -> the commit and the names of its files; a name -> its size and checksum.
//
// The interface is that of huggingface_hub: hf_api.py, model_info; file_download.py, get_hf_file_metadata. A tag of 64
// digits is the sha256 of a large file, one of 40 git's sha1 of "blob <size>\0" and the content.

import { z } from 'zod'
import { reasonOf } from '../checkpoint/files.ts'
import { RequestError, UpstreamError } from '../errors.ts'
import { retry } from '../retry.ts'
import { type Hub, headOf, readStart, request } from './http.ts'

export interface Repository {
  hub: Hub
  name: string
  commit: string
  files: readonly string[]
}

export interface HubFile {
  path: string
  sizeBytes: number
  /** In hexadecimal digits: 64 of sha256, or 40 of git's sha1. */
  checksum: string
}

/** The largest repositories list a few thousand files. A longer answer is cut off, and is then no JSON. */
const MAX_ANSWER_BYTES = 20_000_000

const answer = z.object({
  sha: z.string().regex(/^[0-9a-f]{7,64}$/),
  siblings: z.array(z.object({ rfilename: z.string() })),
})

/** Whether this is a model's name as hubs have them, `owner/name`, and not the path of a folder such as ./a or a/b/c. */
export function isHubName(name: string): boolean {
  return /^[\w.-]{1,96}\/[\w.-]{1,96}$/.test(name) && !name.split('/').some((part) => /^\.+$/.test(part))
}

/** @throws RequestError `bad_name`, `not_on_hub` or `hub_refused`, UpstreamError */
export async function openRepository(hub: Hub, name: string, revision: string): Promise<Repository> {
  if (!isHubName(name)) {
    const message = `Expected a model's name as owner/name, such as Salesforce/blip2-opt-2.7b, but got ${JSON.stringify(name)}.`
    throw new RequestError('bad_name', message)
  }
  const what = `the model ${name} at ${revision}`
  const path = `/api/models/${name}/revision/${encodeURIComponent(revision)}`
  const bytes = await retry(hub, `Fetching ${what}`, async () =>
    readStart(hub, await request(hub, path, what), MAX_ANSWER_BYTES),
  )
  try {
    const { sha, siblings } = answer.parse(JSON.parse(bytes.toString('utf8')))
    // A checkpoint has at most a tokenizer in a folder. Other names could lead out of the folder that is written to.
    const files = siblings
      .map(({ rfilename }) => rfilename)
      .filter((file) => /^([\w-]+\/)?[\w.-]+$/.test(file) && !/(^|\/)\.+$/.test(file))
    return { hub, name, commit: sha, files }
  } catch (cause) {
    const message = `${hub.endpoint} did not describe ${name} as a Hugging Face hub does: ${reasonOf(cause)}. Check --endpoint.`
    throw new UpstreamError('bad_answer', message)
  }
}

/** @throws UpstreamError `bad_answer` if the headers of the file lack its size or checksum */
export async function describeFile(repository: Repository, path: string): Promise<HubFile> {
  const { hub } = repository
  const { path: hubPath, what } = addressOf(repository, path)
  const headers = await retry(hub, `Fetching ${what}`, async () => headOf(hub, hubPath, what))
  const size = headers.get('x-linked-size') ?? headers.get('content-length') ?? ''
  const tag = headers.get('x-linked-etag') ?? headers.get('etag') ?? ''
  const checksum = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(tag)?.[1]
  if (checksum !== undefined && /^\d+$/.test(size)) return { path, sizeBytes: Number(size), checksum }
  const message = `${hub.endpoint} does not give the size and checksum of ${what}. Use another --endpoint, such as https://huggingface.co.`
  throw new UpstreamError('bad_answer', message)
}

/** The path of a file on the hub, and its name in errors. */
export function addressOf({ name, commit }: Repository, file: string): { path: string; what: string } {
  return {
    path: `/${name}/resolve/${commit}/${file.split('/').map(encodeURIComponent).join('/')}`,
    what: `${file} of ${name}`,
  }
}
