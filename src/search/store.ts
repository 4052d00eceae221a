// Pictures and the vectors they are found by, in collections that outlive the process. A vector store implements this
// file; open.ts has a row for each.
//
// A collection holds the vectors of one model. Scores are computed by score.ts: a store only proposes candidates.

/** The model whose vectors a collection holds. */
export interface ModelOfVectors {
  /** Identifies the artifact: another one gives other vectors. */
  key: string
  name: string
  /** Q, vectors of a picture. */
  count: number
  /** E, length of a vector. */
  width: number
  /** The similarity from which on two pictures are duplicates, if the model's card says it. */
  duplicates?: number
}

export interface Picture {
  /** A path on this machine, or an id that a client chose. */
  id: string
  sha256: string
  sizeBytes: number
  /** Modification time of the file, in ms since 1970. */
  modifiedMs: number
  /** What `from` and `to` of a filter compare, in ms since 1970. */
  dateMs: number
  /** Why the file is no picture that can be found; such a row has no vectors. */
  problem?: string
  /** What a client stored with it, as JSON. */
  metadata?: string
}

export interface IndexedPicture extends Picture {
  /** [Q, E] in half precision, each of length 1: the bits of an IEEE 754 binary16. */
  vectors: Uint16Array
}

/** A condition on pictures; all parts must hold. */
export interface Filter {
  ids?: readonly string[]
  /** Beginnings of ids, at least one of which must match: folders with a separator at the end. */
  under?: readonly string[]
  sha256?: string
  /** Both included, in ms since 1970. */
  fromMs?: number
  toMs?: number
}

/** A page of a listing. */
export interface Page {
  limit: number
  offset: number
}

/** Which vectors of a picture are compared with the query [E]: the most alike of all, or their mean. */
export type Compared = 'any' | 'mean'

/** Every call throws UpstreamError `index_failed` when the store fails. */
export interface Collection {
  readonly model: ModelOfVectors
  /** Adds pictures and replaces those with the same id. Once it resolves, no crash loses them. */
  upsert(pictures: readonly (Picture | IndexedPicture)[]): Promise<void>
  /** They are no longer found; `settle` removes them from the disk. */
  remove(ids: readonly string[]): Promise<void>
  /** With vectors, in no order; rows that have a problem are left out. */
  read(filter: Filter): Promise<IndexedPicture[]>
  /** Without vectors, by id, rows that have a problem included. */
  list(filter: Filter, page?: Page): Promise<Picture[]>
  /** Pictures that can be found. */
  count(filter?: Filter): Promise<number>
  /** About the `count` pictures most alike the query [E], of length 1; the store may miss some. */
  candidates(query: Float32Array, by: Compared, filter: Filter, count: number): Promise<IndexedPicture[]>
  /** Whether `settle` would change anything. */
  isSettled(): Promise<boolean>
  /**
   * Removes what was deleted or replaced from the disk, and updates the index. Takes seconds for 10,000 pictures. May leave it
   * for another time while other processes write.
   */
  settle(): Promise<void>
}

export interface SearchStore {
  /** For messages: its folder or address. */
  readonly location: string
  /** Undefined: no such collection. */
  open(name: string): Promise<Collection | undefined>
  /** An empty collection; that of another process if it was faster. */
  create(name: string, model: ModelOfVectors): Promise<Collection>
  /** In alphabetical order. */
  names(): Promise<string[]>
  /** Removes a collection from the disk. */
  drop(name: string): Promise<void>
  close(): void
}
