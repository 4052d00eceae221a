// What a stage computed for a picture -> the same, for the next request about it. Each stage has its own cache with its own
// limit in bytes: vision and matching by the picture's sha256, queries by picture and, where the queries read it, by text. What the
// language model keeps of a picture's last prompt goes when the picture's queries go, and is in memory only.

import { deserialize, serialize } from 'node:v8'
import { LRUCache } from 'lru-cache'
import { artifactKey, type Manifest } from '../artifact/contract.ts'
import type { KeptPrompt, PromptCache } from '../run/language-model.ts'
import type { Outputs } from '../run/queries.ts'
import { type Elements, type ElementType, Tensor } from '../run/tensor.ts'
import type { Store } from '../store/store.ts'

/** Two hundred pictures with opt-2.7b, where a prefix is 32 vectors in 320 KiB. */
export const MAX_QUERIES_BYTES = 64 * 1024 * 1024
/** 45 pictures with ViT-g, where vision is 257 vectors in 1.4 MB. */
export const MAX_VISION_BYTES = 64 * 1024 * 1024
/** Nine pictures with opt-2.7b, where keys and values of 43 positions take 28 MB. They save 200 ms of the next question. */
export const MAX_PROMPTS_BYTES = 256 * 1024 * 1024

interface StageCache {
  get(key: string): Promise<Outputs | undefined>
  set(key: string, outputs: Outputs): Promise<void>
  /** Removes what it has of this picture, in memory and in the store. */
  forget(picture: string): Promise<void>
}

export interface StageCaches {
  /** Absent where nothing reads it a second time: where no text is read beside the picture, later stages are cached. */
  vision?: StageCache
  queries: StageCache
  /** Features of a picture alone, to compare it with texts. Absent if the model does not match. */
  matching?: StageCache
  /**
   * By the picture's sha256. Each call frees the prompts of pictures that have expired. Absent where the image embeddings
   * depend on the text, or no decoder reads them.
   */
  prompts?: (picture: string) => PromptCache
  /** Removes what all of them have of this picture. */
  forget(picture: string): Promise<void>
}

interface StageStore {
  store: Store
  /** How long an output is kept in all: one that is read back keeps its first time of expiry. */
  ttlMs: number
  /** Default: the clock. */
  now?: () => number
}

/**
 * The caches of a model, in memory, least recently used first out. With a store, the stage that depends on the picture
 * alone is kept there too, for the time after a restart and for other processes.
 */
export function stageCaches(
  { queries, matching, language, files }: Pick<Manifest, 'queries' | 'matching' | 'language' | 'files'>,
  stored?: StageStore,
): StageCaches {
  const model = artifactKey({ files })
  const ttlMs = stored?.ttlMs
  const inStore = (cache: LruCache, stage: string) =>
    stored ? storedCache(cache, `${stage}/${model}`, stored) : inMemory(cache)
  const kept = new LRUCache<string, KeptPrompt>({
    maxSize: MAX_PROMPTS_BYTES,
    sizeCalculation: ({ byteLength }) => byteLength,
  })
  const queriesInMemory = createLru(MAX_QUERIES_BYTES, ttlMs, (key) => void kept.delete(key))
  const keepsPrompts = language.kind === 'decoder' && !queries.reads_text
  const vision = createLru(MAX_VISION_BYTES, ttlMs)
  const stages: Pick<StageCaches, 'vision' | 'queries' | 'matching'> = {
    ...(queries.text
      ? { vision: inStore(vision, 'vision'), queries: inMemory(queriesInMemory) }
      : { queries: inStore(queriesInMemory, 'queries') }),
    ...(matching && {
      ...(!queries.text && { vision: inMemory(vision) }),
      matching: inMemory(createLru(MAX_QUERIES_BYTES, ttlMs)),
    }),
  }
  return {
    ...stages,
    async forget(picture) {
      await Promise.all(Object.values(stages).map((stage) => stage.forget(picture)))
    },
    prompts: keepsPrompts
      ? (picture) => {
          // lru-cache frees what has expired only when its own key is read, and a prompt may hold 28 MB and a question.
          queriesInMemory.purgeStale()
          return promptCache(picture, kept, queriesInMemory)
        }
      : undefined,
  }
}

/** Holds nothing for a picture whose queries are no longer cached. */
function promptCache(picture: string, kept: LRUCache<string, KeptPrompt>, queries: LruCache): PromptCache {
  return {
    get: () => (queries.has(picture) ? kept.get(picture) : undefined),
    set(prompt) {
      if (queries.has(picture)) kept.set(picture, prompt)
    },
  }
}

type LruCache = ReturnType<typeof createLru>

/** `onGone` is called with the key of what is dropped or replaced. */
function createLru(maxSize: number, ttlMs = 0, onGone?: (key: string) => void) {
  return new LRUCache<string, Outputs>({
    maxSize,
    sizeCalculation: (outputs) =>
      // Two names may be of one tensor.
      Math.max(
        1,
        [...new Set(Object.values(outputs))].reduce((bytes, tensor) => bytes + tensor.byteLength, 0),
      ),
    ttl: ttlMs,
    dispose: onGone && ((_, key) => onGone(key)),
  })
}

/** A key is the picture's sha256, or begins with it. */
function forgetIn(cache: LruCache, picture: string): void {
  for (const key of [...cache.keys()]) if (key.startsWith(picture)) cache.delete(key)
}

function inMemory(cache: LruCache): StageCache {
  return {
    get: async (key) => cache.get(key),
    set: async (key, outputs) => void cache.set(key, outputs),
    forget: async (picture) => forgetIn(cache, picture),
  }
}

/** An error of the store counts as a miss: the picture is encoded again. */
function storedCache(
  cache: LruCache,
  prefix: string,
  { store, ttlMs, now = Date.now }: StageStore,
): StageCache {
  return {
    async get(key) {
      const cached = cache.get(key)
      if (cached) return cached
      const found = await store.read(`${prefix}/${key}`).catch(() => undefined)
      const outputs = found && decode(found.bytes)
      if (outputs) cache.set(key, outputs, { ttl: Math.max(1, found.expiresAt - now()) })
      return outputs
    },
    async set(key, outputs) {
      cache.set(key, outputs)
      await store.replace(`${prefix}/${key}`, await encode(outputs), ttlMs).catch(() => {})
    },
    async forget(picture) {
      forgetIn(cache, picture)
      await store.remove(`${prefix}/${picture}`)
    },
  }
}

/** Raised when `encode` writes another form, so that what an older version wrote is forgotten. */
const VERSION = 1

async function encode(outputs: Outputs): Promise<Uint8Array> {
  const tensors = Object.entries(outputs).map(async ([name, tensor]) => {
    return [name, tensor.type, await tensor.elements(), tensor.dims]
  })
  return serialize([VERSION, await Promise.all(tensors)])
}

/** undefined for bytes of another version, or of something else. */
function decode(bytes: Uint8Array): Outputs | undefined {
  try {
    const [version, tensors] = deserialize(bytes) as [number, [string, ElementType, Elements, number[]][]]
    if (version !== VERSION) return undefined
    return Object.fromEntries(
      tensors.map(([name, type, elements, dims]) => {
        const tensor = new Tensor(type, elements, dims)
        if (tensor.byteLength !== elements.byteLength) throw new RangeError('another size')
        return [name, tensor]
      }),
    )
  } catch {
    return undefined
  }
}
