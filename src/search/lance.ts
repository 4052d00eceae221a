// LanceDB: a folder or s3://bucket/prefix -> collections, one table each. It is embedded: no server runs.
//
// Each write is one atomic commit, so a crash loses only the write that ran. A search with LanceDB's multivector distance
// is max over the queries of the cosine, which is BLIP-2's contrastive score. Without an index it is exact and takes 10
// microseconds a picture; the index IVF_RQ is approximate, and its distance is not the score.
//
// Both packages are optional: they are loaded here, on use.

import type { Connection, Table } from '@lancedb/lancedb'
import { z } from 'zod'
import { keyedMutex } from '../concurrency.ts'
import { isGlimpseError, SetupError, UpstreamError } from '../errors.ts'
import { isMissing, missing } from '../optional-part.ts'
import { loadArrow, PLAIN, pictureOf, rowsOf, schemaOf, tableOf } from './lance-rows.ts'
import type {
  Collection,
  Filter,
  IndexedPicture,
  ModelOfVectors,
  Page,
  Picture,
  SearchStore,
} from './store.ts'

/** Raised when the columns change: older collections are refused. */
const LAYOUT = 'glimpse-collection/1'
const MODEL_FIELD = 'glimpse'
/** From so many pictures on a column is indexed. Below, an exact scan takes a few ms. */
const INDEX_FROM = { vectors: 1_000, mean: 50_000 }
/** Cells of the index that a search reads: more than LanceDB's default of 20, at no measurable cost. */
const PROBES = 40
/** Bits of a dimension in the index. With 1, recall@10 of 32 x 64 is 95 % in place of 100 %, see bench/search.ts. */
const BITS = 4
/** Ids in one condition; SQL of some hundred kilobytes is parsed in ms. */
const MAX_IDS = 1_000

const modelSchema = z.object({
  layout: z.literal(LAYOUT),
  key: z.string(),
  name: z.string(),
  count: z.number(),
  width: z.number(),
  duplicates: z.number().optional(),
})

/** How the bucket is reached where the environment does not say it: LanceDB's storage options. */
export type LanceOptions = Readonly<Record<string, string>>

const PACKAGES = ['@lancedb/lancedb', 'apache-arrow']

type Libraries = Awaited<ReturnType<typeof load>>

async function load() {
  try {
    const lancedb = await import('@lancedb/lancedb')
    return { lancedb, arrow: loadArrow() }
  } catch (cause) {
    const message = missing('Search', PACKAGES)
    // With its cause where they are installed but have no binary for this system.
    throw new SetupError('no_search_library', message, isMissing(cause, PACKAGES) ? {} : { cause })
  }
}

/** @throws SetupError `no_search_library`; UpstreamError `index_failed` */
export async function openLance(location: string, storageOptions?: LanceOptions): Promise<SearchStore> {
  const libraries = await load()
  const at = (work: () => Promise<Table>) => attempt(location, work)
  const db: Connection = await attempt(location, () =>
    // 0 s: each call sees what other processes wrote.
    libraries.lancedb.connect(location, {
      readConsistencyInterval: 0,
      ...(storageOptions && { storageOptions: { ...storageOptions } }),
    }),
  )
  const names = () => attempt(location, async () => (await db.tableNames({ limit: 10_000 })).sort())
  return {
    location,
    names,
    async open(name) {
      if (!(await names()).includes(name)) return undefined
      return await collectionOf(libraries, location, name, await at(() => db.openTable(name)))
    },
    async create(name, model) {
      const metadata = new Map([[MODEL_FIELD, JSON.stringify({ layout: LAYOUT, ...model })]])
      const schema = schemaOf(libraries.arrow, model, metadata)
      const table = await at(() =>
        db.createEmptyTable(name, schema).catch(async (error: unknown) => {
          if ((await names()).includes(name)) return await db.openTable(name)
          throw error
        }),
      )
      return await collectionOf(libraries, location, name, table)
    },
    async drop(name) {
      await attempt(location, () => db.dropTable(name))
    },
    close: () => db.close(),
  }
}

async function collectionOf(
  libraries: Libraries,
  location: string,
  name: string,
  table: Table,
): Promise<Collection> {
  const place = `${location} (${name})`
  const schema = await attempt(place, () => table.schema())
  const model = modelOf(schema.metadata.get(MODEL_FIELD), place)
  const writes = keyedMutex()
  const onNewest = <T>(work: () => Promise<T>) => attempt(place, () => againOnNewest(table, work))
  const read = onNewest
  const write = <T>(work: () => Promise<T>) => writes.run(['write'], () => onNewest(work))
  const upsert = async (pictures: readonly (Picture | IndexedPicture)[]) => {
    if (pictures.length === 0) return
    const merge = table.mergeInsert('id').whenMatchedUpdateAll().whenNotMatchedInsertAll()
    await merge.execute(tableOf(libraries.arrow, model, pictures))
  }
  const readRows = async (filter: Filter) => {
    const where = whereOf(filter, ['problem IS NULL'])
    return rowsOf(await table.query().where(where).toArrow())
  }

  return {
    model,
    upsert: (pictures) => write(() => upsert(pictures)),
    remove: (ids) =>
      write(async () => {
        for (let at = 0; at < ids.length; at += MAX_IDS) {
          await table.delete(whereOf({ ids: ids.slice(at, at + MAX_IDS) }))
        }
      }),
    read: (filter) => read(() => readRows(filter)),
    list: (filter, page) => read(() => listed(table, filter, page)),
    count: (filter = {}) => read(() => table.countRows(whereOf(filter, ['problem IS NULL']))),
    candidates: (query, by, filter, count) =>
      read(async () => {
        const column = by === 'any' ? 'vectors' : 'mean'
        const nearest = table.query().nearestTo(query).column(column).distanceType('cosine')
        // Rows that have a problem have no vectors, so they are not found: a condition would cost time.
        const where = whereOf(filter)
        const found = (where === '' ? nearest : nearest.where(where)).limit(count).nprobes(PROBES)
        return rowsOf(await found.toArrow())
      }),
    isSettled: () =>
      read(async () => {
        const [rows, indices, versions] = [
          await table.countRows('problem IS NULL'),
          (await table.stats()).numIndices,
          await table.listVersions(),
        ]
        const due = Object.values(INDEX_FROM).filter((from) => rows >= from).length
        // `settle` leaves one version, and one more for each index.
        return indices === due && versions.length <= 1 + due
      }),
    // While other processes write, it may stay unsettled: the next call of any of them settles it.
    settle: () =>
      write(() => settle(libraries, table)).catch((error: unknown) => {
        if (!CONFLICT.test(String((error as Error).cause))) throw error
      }),
  }
}

/** Times that a read or write is tried when another process overtakes it. */
const TRIES = 5

/** Another process committed first. LanceDB panics when that process also removed the files that the commit builds on. */
const CONFLICT = /commit conflict|panic in async function/i
/** Another process removed the files of the version that this call was reading. */
const REMOVED = /not ?found|no such file/i

/** Runs `work` on the newest version. Each read and write here may run twice: a row that is written again replaces itself. */
async function againOnNewest<T>(table: Table, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      const isOvertaken = CONFLICT.test(String(error)) || REMOVED.test(String(error))
      if (tries === TRIES || !isOvertaken) throw error
      await table.checkoutLatest()
    }
  }
}

async function settle({ lancedb }: Libraries, table: Table): Promise<void> {
  // Fragments inside and outside an index are not merged, so the index is made again afterwards.
  for (const column of Object.keys(INDEX_FROM)) {
    await table.dropIndex(`${column}_idx`).catch((error: unknown) => {
      if (!/not ?found|does not exist/i.test(String(error))) throw error
    })
  }
  // A lone fragment is not rewritten, whatever was deleted in it. An update moves a row to a second one.
  const [row] = await table.query().select(['id']).limit(1).toArray()
  if (row) await table.update({ where: whereOf({ ids: [String(row.id)] }), valuesSql: { sha256: 'sha256' } })
  await table.optimize({ cleanupOlderThan: new Date() })
  const rows = await table.countRows('problem IS NULL')
  for (const [column, from] of Object.entries(INDEX_FROM)) {
    if (rows < from) continue
    const config = lancedb.Index.ivfRq({ distanceType: 'cosine', numBits: BITS })
    await table.createIndex(column, { config })
  }
}

/** @throws UpstreamError `index_failed`, with LanceDB's words as the cause */
async function attempt<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (isGlimpseError(cause)) throw cause
    const [words = ''] = String(cause instanceof Error ? cause.message : cause).split('\n')
    const message = `Expected to use the collection at ${place} but LanceDB failed: ${words.slice(0, 300)}. Check the folder or bucket, its permissions and its free space.`
    throw new UpstreamError('index_failed', message, { cause })
  }
}

function modelOf(text: string | undefined, place: string): ModelOfVectors {
  let json: unknown
  try {
    json = JSON.parse(text ?? '')
  } catch {
    json = undefined
  }
  const parsed = modelSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const message = `Expected a collection of the layout ${LAYOUT} at ${place} but found something else. Choose another folder, or index again with --rebuild.`
  throw new SetupError('other_model', message)
}

async function listed(table: Table, filter: Filter, page?: Page): Promise<Picture[]> {
  let query = table
    .query()
    .select(PLAIN)
    .where(whereOf(filter, ['true']))
  if (page) {
    query = query.orderBy({ columnName: 'id', ascending: true, nullsFirst: false })
    query = query.offset(page.offset).limit(page.limit)
  }
  const rows = (await query.toArray()).map((row) => pictureOf((row as { toJSON(): object }).toJSON()))
  return page ? rows : rows.sort((one, other) => (one.id < other.id ? -1 : 1))
}

/** SQL of a filter. Only `'` has a meaning in a string of DataFusion. */
function whereOf({ ids, under, sha256, fromMs, toMs }: Filter, more: readonly string[] = []): string {
  const text = (value: string) => `'${value.replaceAll("'", "''")}'`
  const parts = [...more]
  if (ids) parts.push(ids.length === 0 ? 'false' : `id IN (${ids.map(text).join(', ')})`)
  if (under)
    parts.push(`(${under.map((start) => `starts_with(id, ${text(start)})`).join(' OR ') || 'false'})`)
  if (sha256 !== undefined) parts.push(`sha256 = ${text(sha256)}`)
  if (fromMs !== undefined) parts.push(`date_ms >= ${fromMs}`)
  if (toMs !== undefined) parts.push(`date_ms <= ${toMs}`)
  return parts.join(' AND ')
}
