// `owner/name` and a revision -> the commit and the files there, with sizes and checksums.
//
// The hub's interface as huggingface_hub uses it (hf_api.py, model_info with files_metadata=True): large files carry
// the sha256 of their content, small ones git's sha1 of "blob <size>\0" and their content. A mirror that lists names only
// is asked for each file's headers, as huggingface_hub's hf_hub_download does (file_download.py, get_hf_file_metadata).

import { z } from 'zod'
import { RequestError, UpstreamError } from '../errors.ts'
import { retry } from '../retry.ts'
import { bodyChunks, type Hub, headOf, request } from './http.ts'

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

/** Of the answer about a repository; the largest have a few thousand files. */
const MAX_ANSWER_BYTES = 20_000_000

/** Asked for one by one where the list says no more than their names. */
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

/** Throws RequestError `bad_name`, `not_on_hub` or `hub_refused`, UpstreamError. */
export async function modelInfo(hub: Hub, name: string, revision: string): Promise<Repository> {
  if (!/^[\w.-]{1,96}\/[\w.-]{1,96}$/.test(name) || name.split('/').some((part) => /^\.+$/.test(part))) {
    throw new RequestError(
      'bad_name',
      `Expected a model's name as owner/name, such as Salesforce/blip2-opt-2.7b, but got ${JSON.stringify(name)}.`,
    )
  }
  const what = `the model ${name} at ${revision}`
  const path = `/api/models/${name}/revision/${encodeURIComponent(revision)}?blobs=true`
  const text = await retry(hub, what, async () => readText(hub, path, what))
  const parsed = answer.safeParse(jsonOrNothing(text))
  if (!parsed.success) {
    throw new UpstreamError(
      'bad_answer',
      `Expected ${hub.endpoint} to describe ${name} as a Hugging Face hub does but it answered something else. Check --endpoint.`,
    )
  }
  const { sha, siblings } = parsed.data
  const files = new Map<string, HubFile>()
  const repository = { name, commit: sha, files }
  for (const { rfilename: path, size, blobId, lfs } of siblings) {
    // Files in folders are none of a checkpoint's, and nothing else may choose where something is written.
    if (!/^[\w.-]+$/.test(path) || /^\.+$/.test(path)) continue
    if (lfs) files.set(path, { path, sizeBytes: lfs.size, checksum: { kind: 'sha256', hex: lfs.sha256 } })
    else if (size != null && blobId) {
      files.set(path, { path, sizeBytes: size, checksum: { kind: 'git-sha1', hex: blobId } })
    } else if (OF_CHECKPOINTS.test(path)) files.set(path, await fileDownloadInfo(hub, repository, path))
  }
  return repository
}

/** Throws UpstreamError `bad_answer` where the headers tell no size or checksum. */
async function fileDownloadInfo(hub: Hub, repository: Repository, path: string): Promise<HubFile> {
  const what = `${path} of ${repository.name}`
  const headers = await retry(hub, what, async () => headOf(hub, pathOf(repository, path), what))
  const size = headers.get('x-linked-size') ?? headers.get('content-length') ?? ''
  const tag = headers.get('x-linked-etag') ?? headers.get('etag') ?? ''
  const hex = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(tag)?.[1]
  if (hex === undefined || !/^\d+$/.test(size)) {
    throw new UpstreamError(
      'bad_answer',
      `Expected the size and checksum of ${what} but ${hub.endpoint} tells neither in its list nor with the file. Give an --endpoint that does, such as https://huggingface.co.`,
    )
  }
  return { path, sizeBytes: Number(size), checksum: { kind: hex.length === 64 ? 'sha256' : 'git-sha1', hex } }
}

/** Where a file of a repository is. */
export function pathOf({ name, commit }: Repository, file: string): string {
  return `/${name}/resolve/${commit}/${encodeURIComponent(file)}`
}

async function readText(hub: Hub, path: string, what: string): Promise<string> {
  const { response } = await request(hub, path, what)
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of bodyChunks(hub, response)) {
    bytes += piece.length
    if (bytes > MAX_ANSWER_BYTES)
      throw new UpstreamError('bad_answer', `Expected ${what} but the answer does not end.`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}

function jsonOrNothing(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
