// Collections of pictures over HTTP: pictures are put under ids and found by texts and by other pictures.
//
//   GET    /v1/collections                          names, numbers of pictures
//   GET    /v1/collections/{name}                   one of them
//   DELETE /v1/collections/{name}                   removes it with all of its pictures
//   GET    /v1/collections/{name}/pictures          a page of its pictures
//   PUT    /v1/collections/{name}/pictures/{id}     adds or replaces a picture; the first one makes the collection
//   GET, DELETE  the same path                      its record; removes it
//   POST   /v1/collections/{name}/search            collection-requests.ts has the fields
//
// What needs the model goes through the inference handler: admission, deadline, Idempotency-Key. Pictures themselves are
// not kept, only their vectors. What was deleted leaves the disk when the collection is settled, a minute later.

import { type Context, Hono } from 'hono'
import type { Engine } from '../engine/engine.ts'
import { codeOf, RequestError, SetupError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { count } from '../observe/metrics.ts'
import { type Embedder, engineEmbedder } from '../search/embedder.ts'
import { notIndexed } from '../search/find.ts'
import { checkModel, collectionOfModel } from '../search/open.ts'
import type { Collection, Picture, SearchStore } from '../search/store.ts'
import { readPage, readPut, readSearch, recordOf } from './collection-requests.ts'
import type { ParsedRequest } from './request.ts'
import type { Uploads } from './uploads.ts'

export interface CollectionsOptions {
  /** Opens the store of collections, at the first request about one. Absent: there are none. */
  search?: () => Promise<SearchStore>
  /** From a change of a collection to its settling, in ms. Default a minute; longer where settling takes long. */
  settleMs?: number
}

interface Given extends CollectionsOptions {
  uploads?: Uploads
  /** Pictures that the engine reads in one batch. */
  concurrency: number
  /** The inference handler's `handle`. */
  infer(
    context: Context,
    read: (request: Request) => Promise<ParsedRequest>,
    label: string,
  ): Promise<Response>
}

const SETTLE_MS = 60_000
/** Part of the time that may go into settling. */
const SETTLE_SHARE = 0.1
const NAME = /^[\w-]{1,64}$/
/** Longer than any path of a file system. */
const MAX_ID = 4_096

export function collections({ search, uploads, concurrency, infer, settleMs = SETTLE_MS }: Given): Hono {
  const opened = openOnce(search)
  const settler = createSettler(settleMs)
  const embedders = new WeakMap<Engine, Promise<Embedder>>()
  const embedderOf = (engine: Engine) => {
    const made = embedders.get(engine) ?? matchingEmbedder(engine, concurrency)
    embedders.set(engine, made)
    made.catch(() => embedders.delete(engine))
    return made
  }

  const app = new Hono()
  app.get('/', (c) =>
    counted(async () => {
      const store = await opened.store()
      const found = await Promise.all((await store.names()).map((name) => opened.collection(name)))
      return c.json({ collections: await Promise.all(found.map(describe)) })
    }),
  )
  app.get('/:name', (c) => counted(async () => c.json(await describe(await opened.collection(nameOf(c))))))
  app.delete('/:name', (c) =>
    counted(async () => {
      const { name } = await opened.collection(nameOf(c))
      await (await opened.store()).drop(name)
      opened.forget(name)
      return c.body(null, 204)
    }),
  )
  app.get('/:name/pictures', (c) =>
    counted(async () => {
      const { filter, page } = readPage(new URL(c.req.url).searchParams)
      const { collection } = await opened.collection(nameOf(c))
      const [pictures, total] = await Promise.all([collection.list(filter, page), collection.count(filter)])
      return c.json({ pictures: pictures.map(recordOf), total })
    }),
  )
  app.get('/:name/pictures/:id{.+}', (c) =>
    counted(async () =>
      c.json(recordOf(await pictureIn((await opened.collection(nameOf(c))).collection, idOf(c)))),
    ),
  )
  app.delete('/:name/pictures/:id{.+}', (c) =>
    counted(async () => {
      const { name, collection } = await opened.collection(nameOf(c))
      const { id } = await pictureIn(collection, idOf(c))
      await collection.remove([id])
      settler.changed(name, collection)
      return c.body(null, 204)
    }),
  )
  app.put('/:name/pictures/:id{.+}', (c) => {
    const [name, id] = [nameOf(c), idOf(c)]
    const read = (request: Request) =>
      readPut(request, { name, id }, uploads, async (engine, picture, image, signal) => {
        const embedder = await embedderOf(engine)
        const vectors = await embedder.embedPicture(image, signal)
        const collection = await opened.collectionOf(name, embedder)
        await collection.upsert([{ ...picture, vectors }])
        settler.changed(name, collection)
        return embedder.model.name
      })
    return infer(c, read, 'collection_put')
  })
  app.post('/:name/search', (c) => {
    const name = nameOf(c)
    const read = (request: Request) =>
      readSearch(request, name, uploads, async (engine) => {
        const { collection } = await opened.collection(name)
        const embedder = await embedderOf(engine)
        checkModel(collection, name, (await opened.store()).location, embedder.model)
        // The picture itself is not kept. The engine's cache may still have what the vision tower made of it.
        return { collection, embedder, pictureOf: async ({ sha256 }: Picture) => ({ sha256 }) }
      })
    return infer(c, read, 'collection_search')
  })
  return app
}

/** Requests that need no model are counted here, the others by the inference handler. */
async function counted(work: () => Promise<Response>): Promise<Response> {
  const ended = (outcome: string) => count('glimpse_requests_total', { task: 'collection', outcome })
  try {
    const response = await work()
    ended('ok')
    return response
  } catch (error) {
    ended(codeOf(error))
    throw error
  }
}

/** The store and its collections, each opened at its first use and again after a failure. */
function openOnce(search: CollectionsOptions['search']) {
  let opening: Promise<SearchStore> | undefined
  const open = new Map<string, Collection>()
  const store = async (): Promise<SearchStore> => {
    if (!search) throw new RequestError('no_collection', 'This server has no collections.')
    opening ??= search().catch((error: unknown) => {
      opening = undefined
      throw error
    })
    return await opening
  }
  const forget = (name: string) => void open.delete(name)
  return {
    store,
    forget,
    /** @throws RequestError `no_collection` */
    async collection(name: string): Promise<{ name: string; collection: Collection }> {
      // Another process may have dropped it, so names are read each time.
      const [all, known] = [await (await store()).names(), open.get(name)]
      const collection = all.includes(name) ? (known ?? (await (await store()).open(name))) : undefined
      if (!collection) {
        forget(name)
        const message = `Expected a collection but there is none named ${name}. Put a picture into it first.`
        throw new RequestError('no_collection', message)
      }
      open.set(name, collection)
      return { name, collection }
    },
    /** Made if there is none. @throws SetupError `other_model` */
    async collectionOf(name: string, { model }: Embedder): Promise<Collection> {
      const known = open.get(name)
      const collection = known ?? (await collectionOfModel(await store(), name, model))
      checkModel(collection, name, (await store()).location, model)
      open.set(name, collection)
      return collection
    },
  }
}

/** Settles collections some time after they changed, one change or many. */
function createSettler(settleMs: number) {
  const due = new Map<string, NodeJS.Timeout>()
  let lastMs = 0
  const settle = async (name: string, collection: Collection) => {
    due.delete(name)
    const began = performance.now()
    // Another process may settle at the same time, or the collection was dropped: the next change tries again.
    await collection.settle().catch((error: unknown) => log.warn('not_settled', error))
    lastMs = performance.now() - began
  }
  return {
    changed(name: string, collection: Collection): void {
      if (due.has(name)) return
      const waitMs = Math.max(settleMs, lastMs / SETTLE_SHARE)
      due.set(name, setTimeout(() => void settle(name, collection), waitMs).unref())
    },
  }
}

/** @throws RequestError `no_task` when the model does not match */
async function matchingEmbedder(engine: Engine, concurrency: number): Promise<Embedder> {
  try {
    return await engineEmbedder(engine, concurrency)
  } catch (error) {
    if (error instanceof SetupError && error.code === 'no_matching')
      throw new RequestError('no_task', error.message)
    throw error
  }
}

async function describe({ name, collection }: { name: string; collection: Collection }) {
  return { name, pictures: await collection.count(), model: collection.model.name }
}

async function pictureIn(collection: Collection, id: string): Promise<Picture> {
  const [picture] = await collection.list({ ids: [id] })
  if (picture) return picture
  throw notIndexed(id)
}

/** @throws RequestError `bad_field` */
function nameOf({ req }: Context): string {
  const name = req.param('name') ?? ''
  if (NAME.test(name)) return name
  throw new RequestError('bad_field', 'Expected a collection name of 1 to 64 letters, digits, - or _.')
}

/** @throws RequestError `bad_field` */
function idOf({ req }: Context): string {
  const id = req.param('id') ?? ''
  if (id.length <= MAX_ID && !/\p{Surrogate}|\0/u.test(id)) return id
  throw new RequestError(
    'bad_field',
    `Expected an id of at most ${MAX_ID} characters of well-formed Unicode.`,
  )
}
