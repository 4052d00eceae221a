// `owner/name` and a revision -> the commit and its files, with sizes and checksums.
//
// The interface is that of huggingface_hub (hf_api.py, model_info with files_metadata=True): large files have the sha256
// of their content, small ones git's sha1 of "blob <size>\0" and the content. Some mirrors list names only. Then the
// headers of each file have the rest (file_download.py, get_hf_file_metadata).

import { z } from 'zod'
import { reasonOf } from '../checkpoint/files.ts'
import { RequestError, UpstreamError } from '../errors.ts'
import { retry } from '../retry.ts'
import { type Hub, headOf, readStart, request } from './http.ts'

export interface HubFile {
  path: string
  sizeBytes: number
  checksum: { kind: 'sha256' | 'git-sha1'; hex: string }
}

export interface Repository {
  name: string
  commit: string
  files: Map<string, HubFile>
}

/** The largest repositories list a few thousand files. A longer answer is cut off, and is then no JSON. */
const MAX_ANSWER_BYTES = 20_000_000

/** Files whose headers are fetched if the list has names only. */
const OF_CHECKPOINTS = /\.(json|txt|safetensors)$/

const answer = z.object({
  sha: z.string().regex(/^[0-9a-f]{7,64}$/),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      size: z.number().int().nonnegative().nullish(),
      blobId: z.string().nullish(),
      lfs: z.object({ sha256: z.string(), size: z.number().int().nonnegative() }).nullish(),
    }),
  ),
})

/** @throws RequestError `bad_name`, `not_on_hub` or `hub_refused`, UpstreamError */
export async function modelInfo(hub: Hub, name: string, revision: string): Promise<Repository> {
  if (!/^[\w.-]{1,96}\/[\w.-]{1,96}$/.test(name) || name.split('/').some((part) => /^\.+$/.test(part))) {
    throw new RequestError(
      'bad_name',
      `Expected a model's name as owner/name, such as Salesforce/blip2-opt-2.7b, but got ${JSON.stringify(name)}.`,
    )
  }
  const what = `the model ${name} at ${revision}`
  const path = `/api/models/${name}/revision/${encodeURIComponent(revision)}?blobs=true`
  const bytes = await retry(hub, what, async () =>
    readStart(hub, await request(hub, path, what), MAX_ANSWER_BYTES),
  )
  const parsed = answer.safeParse(jsonOrUndefined(bytes))
  if (!parsed.success) {
    throw new UpstreamError(
      'bad_answer',
      `${hub.endpoint} did not describe ${name} as a Hugging Face hub does: ${reasonOf(parsed.error)}. Check --endpoint.`,
    )
  }
  const { sha, siblings } = parsed.data
  const files = new Map<string, HubFile>()
  const repository = { name, commit: sha, files }
  for (const { rfilename: path, size, blobId, lfs } of siblings) {
    // A checkpoint has no files in folders. Other names could lead out of the folder that is written to.
    if (!/^[\w.-]+$/.test(path) || /^\.+$/.test(path)) continue
    if (lfs) files.set(path, { path, sizeBytes: lfs.size, checksum: { kind: 'sha256', hex: lfs.sha256 } })
    else if (size != null && blobId) {
      files.set(path, { path, sizeBytes: size, checksum: { kind: 'git-sha1', hex: blobId } })
    } else if (OF_CHECKPOINTS.test(path)) files.set(path, await fileFromHeaders(hub, repository, path))
  }
  return repository
}

/** @throws UpstreamError `bad_answer` if the headers lack the size or the checksum */
async function fileFromHeaders(hub: Hub, repository: Repository, path: string): Promise<HubFile> {
  const what = `${path} of ${repository.name}`
  const headers = await retry(hub, what, async () => headOf(hub, pathOf(repository, path), what))
  const size = headers.get('x-linked-size') ?? headers.get('content-length') ?? ''
  const tag = headers.get('x-linked-etag') ?? headers.get('etag') ?? ''
  const hex = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(tag)?.[1]
  if (hex === undefined || !/^\d+$/.test(size)) {
    throw new UpstreamError(
      'bad_answer',
      `${hub.endpoint} gives the size and checksum of ${what} neither in its list nor with the file. Use another --endpoint, such as https://huggingface.co.`,
    )
  }
  return { path, sizeBytes: Number(size), checksum: { kind: hex.length === 64 ? 'sha256' : 'git-sha1', hex } }
}

/** The path of a file on the hub. */
export function pathOf({ name, commit }: Repository, file: string): string {
  return `/${name}/resolve/${commit}/${encodeURIComponent(file)}`
}

function jsonOrUndefined(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
