// Pictures and their conversations, kept in this browser (IndexedDB) by id. A picture is written once, its conversation often.
//
// Without IndexedDB (some private windows) nothing is kept: `load` returns nothing, and `save` throws.

const STORES = ['pictures', 'threads']

/** @type {Promise<IDBDatabase> | undefined} */
let opening

function database() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('glimpse', 1)
    request.onupgradeneeded = () => {
      for (const name of STORES) request.result.createObjectStore(name)
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return opening
}

/** Resolves when the change is on the disk, and rejects when it is not. */
async function change(act) {
  const transaction = (await database()).transaction(STORES, 'readwrite')
  act(...STORES.map((name) => transaction.objectStore(name)))
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve
    transaction.onabort = () => reject(transaction.error)
  })
}

/** Returns all records with their `id` and `image`, oldest first. */
export async function load() {
  try {
    const transaction = (await database()).transaction(STORES)
    const [pictures, threads] = STORES.map((name) => transaction.objectStore(name))
    const [ids, images, records] = await Promise.all(
      [threads.getAllKeys(), pictures.getAll(), threads.getAll()].map(
        (request) =>
          new Promise((resolve, reject) => {
            request.onsuccess = () => resolve(request.result)
            request.onerror = () => reject(request.error)
          }),
      ),
    )
    return records.map((record, index) => ({ ...record, id: ids[index], image: images[index] }))
  } catch {
    return []
  }
}

/** @param {Blob | undefined} image undefined: it is kept already. What another tab has removed since is not kept again. */
export const save = (id, image, record) =>
  change((pictures, threads) => {
    if (image) pictures.put(image, id)
    pictures.getKey(id).onsuccess = ({ target }) => {
      if (target.result !== undefined) threads.put(record, id)
    }
  })
export const remove = (id) => change((...stores) => stores.map((store) => store.delete(id)))
export const clear = () => change((...stores) => stores.map((store) => store.clear()))
