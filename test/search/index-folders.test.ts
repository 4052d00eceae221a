// Folders that change between runs, and folders of odd files.

import { mkdir, mkdtemp, realpath, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BusyError } from '../../src/errors.ts'
import { type IndexOptions, indexFolders } from '../../src/search/index-folders.ts'
import { findPictures } from '../../src/search/walk.ts'
import { type FakeEmbedder, fakeEmbedder, pictureOf } from './fake.ts'
import { type InMemoryCollection, inMemoryCollection } from './in-memory.ts'

let root: string
let collection: InMemoryCollection
let embedder: FakeEmbedder
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'glimpse-pictures-')))
  collection = inMemoryCollection()
  embedder = fakeEmbedder()
})
afterEach(() => rm(root, { recursive: true, force: true }))

async function put(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(root, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
  return path
}
const index = (options: IndexOptions = {}, folders = [root]) =>
  indexFolders(collection, embedder, folders, options)
const indexed = async () => (await collection.list({})).filter(({ problem }) => !problem).map(({ id }) => id)
const none = { added: 0, changed: 0, copied: 0, removed: 0 }

test('a second run reads nothing', async () => {
  await put('a.jpg', pictureOf('crab'))
  await put('deep/er/b.png', pictureOf('guitar'))
  expect(await index()).toEqual({ ...none, files: 2, unchanged: 0, added: 2, skipped: [] })
  expect(await index()).toEqual({ ...none, files: 2, unchanged: 2, skipped: [] })
  // Files are read at the same time, so their order is not fixed.
  expect(embedder.embedded.toSorted()).toEqual(['crab', 'guitar'])
  expect(await indexed()).toEqual([join(root, 'a.jpg'), join(root, 'deep/er/b.png')])
})

test('added, changed and removed files', async () => {
  await put('a.jpg', pictureOf('crab'))
  await put('b.jpg', pictureOf('guitar'))
  await index()
  await put('a.jpg', pictureOf('another', 'crab'))
  await put('c.jpg', pictureOf('tiger'))
  await rm(join(root, 'b.jpg'))
  expect(await index()).toMatchObject({ files: 2, unchanged: 0, added: 1, changed: 1, copied: 0, removed: 1 })
  expect(await indexed()).toEqual([join(root, 'a.jpg'), join(root, 'c.jpg')])
  expect(await collection.isSettled()).toBe(true)
})

test('a moved, a copied and a touched file need no model', async () => {
  const before = await put('a.jpg', pictureOf('crab'))
  const touched = await put('b.jpg', pictureOf('guitar'))
  await index()
  const [{ vectors } = { vectors: undefined }] = await collection.read({ ids: [before] })
  await mkdir(join(root, 'new'))
  await rename(before, join(root, 'new/name.jpg'))
  await put('copy of b.jpg', pictureOf('guitar'))
  await utimes(touched, 1_000, 1_000)
  expect(await index()).toEqual({ ...none, files: 3, unchanged: 0, copied: 3, removed: 1, skipped: [] })
  expect(embedder.embedded).toHaveLength(2)
  expect((await collection.read({ ids: [join(root, 'new/name.jpg')] }))[0]!.vectors).toEqual(vectors)
  expect((await collection.read({ ids: [touched] }))[0]!.modifiedMs).toBe(1_000_000)
})

test('a changed file with the same size is found by its time', async () => {
  const path = await put('a.jpg', pictureOf('crab'))
  await index()
  await put('a.jpg', pictureOf('bear'))
  await utimes(path, 2_000, 2_000)
  expect(await index()).toMatchObject({ changed: 1, unchanged: 0 })
  expect(embedder.embedded).toEqual(['crab', 'bear'])
})

describe('files that are no pictures', () => {
  test('are listed in each run and read again only when they changed', async () => {
    await put('empty.jpg', '')
    await put('text.jpg', 'a text')
    await put('notes.txt', 'not listed: its name is none of a picture')
    const large = await put('large.png', '')
    await truncate(large, 21 * 1024 * 1024)
    const first = await index()
    expect(first).toMatchObject({ files: 3, added: 0 })
    expect(first.skipped.map(({ path, why }) => [path.slice(root.length), why])).toEqual([
      ['/empty.jpg', 'Expected a picture but got text.'],
      ['/large.png', 'Expected at most 20 MiB but got 21.'],
      ['/text.jpg', 'Expected a picture but got text.'],
    ])
    expect(await index()).toMatchObject({ unchanged: 3, skipped: first.skipped })
    await put('text.jpg', pictureOf('a', 'real', 'one'))
    expect(await index()).toMatchObject({ unchanged: 2, added: 1 })
    expect(await indexed()).toEqual([join(root, 'text.jpg')])
  })

  test('a picture that becomes unreadable is not found any more', async () => {
    await put('a.jpg', pictureOf('crab'))
    await index()
    await put('a.jpg', 'cut off')
    expect(await index()).toMatchObject({ skipped: [{ path: join(root, 'a.jpg') }] })
    expect(await collection.count()).toBe(0)
  })

  test('a file that the engine fails on is tried three times, then in the next run', async () => {
    await put('a.jpg', pictureOf('crab'))
    await put('b.jpg', pictureOf('guitar'))
    let failures = 0
    const failing: FakeEmbedder = {
      ...embedder,
      async embedPicture(image) {
        if (!Buffer.from(image).includes('crab')) return await embedder.embedPicture(image)
        failures++
        throw new BusyError('restarting', 'The model process ended.')
      },
    }
    const report = await indexFolders(collection, failing, [root])
    expect(report).toMatchObject({ added: 1, skipped: [{ path: join(root, 'a.jpg') }] })
    expect(failures).toBe(3)
    expect(await index()).toMatchObject({ added: 1, unchanged: 1, skipped: [] })
  })
})

describe('names and links', () => {
  test('unicode, spaces, line breaks, quotes and the longest names', async () => {
    const names = ['日本 🦀.JPG', "it's.jpeg", 'two\nlines.png', '"q".webp', `${'n'.repeat(251)}.jpg`]
    for (const name of names) await put(name, pictureOf(name.replaceAll(/\s/g, '')))
    expect(await index()).toMatchObject({ files: names.length, added: names.length, skipped: [] })
    expect(await indexed()).toEqual(names.map((name) => join(root, name)).sort())
    expect(await index()).toMatchObject({ unchanged: names.length })
  })

  test('links to files are followed, links to folders are not, and links to nothing are no files', async () => {
    await put('in/a.jpg', pictureOf('crab'))
    await symlink(join(root, 'in'), join(root, 'in/loop'))
    await symlink(join(root, 'loop.jpg'), join(root, 'loop.jpg'))
    await symlink(join(root, 'gone.jpg'), join(root, 'dangling.jpg'))
    await symlink(join(root, 'in/a.jpg'), join(root, 'link.jpg'))
    const report = await index()
    expect(report.skipped).toEqual([{ path: join(root, 'loop.jpg'), why: 'its links lead in a circle' }])
    expect(await indexed()).toEqual([join(root, 'in/a.jpg'), join(root, 'link.jpg')])
  })

  test('hidden files and folders only with `hidden`; a root may be hidden', async () => {
    await put('.thumbnails/a.jpg', pictureOf('crab'))
    await put('.b.jpg', pictureOf('guitar'))
    const paths = async (options: IndexOptions, folder = root) =>
      (await findPictures([folder], options)).files.map(({ path }) => path.slice(root.length))
    expect(await paths({})).toEqual([])
    expect(await paths({ hidden: true })).toEqual(['/.b.jpg', '/.thumbnails/a.jpg'])
    expect(await paths({}, join(root, '.thumbnails'))).toEqual(['/.thumbnails/a.jpg'])
  })

  test('a name to exclude is left out everywhere, a path below the folder only there', async () => {
    for (const name of ['a.gif', 'old/b.jpg', 'x/old/c.jpg', 'x/raw/d.jpg', 'raw/e.jpg']) {
      await put(name, pictureOf(name))
    }
    const left = async (...exclude: string[]) =>
      (await findPictures([root], { exclude })).files.map(({ path }) => path.slice(root.length + 1))
    expect(await left('*.gif', 'old')).toEqual(['raw/e.jpg', 'x/raw/d.jpg'])
    expect(await left('x/old/')).toEqual(['a.gif', 'old/b.jpg', 'raw/e.jpg', 'x/raw/d.jpg'])
    expect(await left('**/raw', './old')).toEqual(['a.gif', 'x/old/c.jpg'])
    await index()
    expect(await index({ exclude: ['old'] })).toMatchObject({ files: 3, removed: 2 })
  })
})

describe('what is outside the folders of a run stays', () => {
  test('other folders, also with a longer name', async () => {
    await put('a/1.jpg', pictureOf('crab'))
    await put('ab/2.jpg', pictureOf('guitar'))
    await index()
    await rm(join(root, 'ab/2.jpg'))
    expect(await index({}, [join(root, 'a')])).toMatchObject({ files: 1, removed: 0 })
    expect(await indexed()).toHaveLength(2)
  })

  test('a missing root is an error before anything changes', async () => {
    await put('a/1.jpg', pictureOf('crab'))
    await index()
    await rm(join(root, 'a'), { recursive: true })
    await expect(index({}, [root, join(root, 'a')])).rejects.toMatchObject({ code: 'no_folder' })
    expect(await indexed()).toHaveLength(1)
  })

  test('a single file as a root', async () => {
    const path = await put('a/1.jpg', pictureOf('crab'))
    await put('a/2.jpg', pictureOf('guitar'))
    expect(await index({}, [path])).toMatchObject({ files: 1, added: 1 })
    expect(await index({}, [path])).toMatchObject({ files: 1, unchanged: 1, removed: 0 })
  })
})

test('a stopped run keeps what is done, and the next one does the rest', async () => {
  for (let i = 0; i < 40; i++) await put(`${String(i).padStart(2, '0')}.jpg`, pictureOf(`word${i}`))
  const stop = new AbortController()
  const stopping: FakeEmbedder = {
    ...embedder,
    async embedPicture(image) {
      if (embedder.embedded.length === 20) stop.abort()
      return await embedder.embedPicture(image)
    },
  }
  await expect(indexFolders(collection, stopping, [root], { signal: stop.signal })).rejects.toMatchObject({
    code: 'cancelled',
  })
  const kept = await collection.count()
  expect(kept).toBeGreaterThanOrEqual(20)
  expect(await index()).toMatchObject({ files: 40, unchanged: kept, added: 40 - kept })
})

test('progress counts committed files only', async () => {
  for (let i = 0; i < 300; i++) await put(`${i}.jpg`, pictureOf(`word${i}`))
  const seen: { done: number; rows: number }[] = []
  await index({
    onProgress: (done, total) => {
      expect(total).toBe(300)
      seen.push({ done, rows: collection.rows.size })
    },
  })
  for (const { done, rows } of seen) expect(rows).toBeGreaterThanOrEqual(done)
  expect(seen.at(-1)).toEqual({ done: 300, rows: 300 })
})
