// A search -> hits, best first: the store proposes candidates, their exact scores rank them, and where it is wanted the
// model reads the best of them again together with the text.
//
//   terms -> candidates -> contrastive score -> [probability of a match] -> cut-off -> sort -> page
//
// Li et al. 2023 (arXiv 2301.12597), section 4.4: candidates by contrastive score, ranked again by that score plus the
// logit of a match.

import { inParallel } from '../concurrency.ts'
import { isGlimpseError, RequestError } from '../errors.ts'
import type { Embedder, KnownPicture, Match } from './embedder.ts'
import { meanVector, pictureSimilarity, textSimilarity } from './score.ts'
import type { Collection, Filter, IndexedPicture, Picture } from './store.ts'

/** What a picture should be like. `weight`: its share in the score; default 1. */
export type Term = { weight?: number } & (
  | { text: string }
  | { image: Uint8Array }
  /** A picture of the collection. */
  | { id: string }
)

export interface Search {
  /** One or more. */
  terms: readonly Term[]
  /** Texts that a picture should not be like: their scores are subtracted. */
  minus?: readonly string[]
  filter?: Filter
  /** Default 10. */
  limit?: number
  offset?: number
  /** Default `score`. `newest` and `oldest` order the hits that `score` would give. */
  sort?: 'score' | 'newest' | 'oldest'
  /** Whether the best candidates are ranked again by probability. Default: where the model's card says that it helps. */
  rerank?: boolean
  /** Only hits whose probability is known and at least this. It makes the model read the candidates again. */
  leastProbability?: number
  /** Time for ranking again; what is not read by then keeps its place behind. Default 2 s. */
  rerankMs?: number
}

export interface Hit {
  picture: Picture
  /** Score of the terms: a cosine, or a weighted mean of cosines, less those of `minus`. */
  contrastive: number
  /** That the first text is about the picture; null: the model has not read the two together. */
  probability: number | null
}

export interface Found {
  hits: Hit[]
  /** Candidates whose probability was computed. */
  judged: number
}

export interface FindContext {
  collection: Collection
  embedder: Embedder
  /** Bytes of a picture of the collection, or its sha256 if the engine may still know it; undefined: neither. */
  pictureOf(picture: Picture): Promise<KnownPicture | undefined>
  signal?: AbortSignal
}

/** Candidates for each hit wanted, and at least so many: the recall that bench/search.ts prints. */
const OVERFETCH = { factor: 4, least: 300 }
const DEFAULT_LIMIT = 10
/** The paper's k. */
const MAX_JUDGED = 128
const DEFAULT_RERANK_MS = 2_000

type Candidate = Hit & { indexed: IndexedPicture; rank: number }

/** @throws RequestError `bad_field`, `no_question`, `not_indexed`, and about texts and pictures; UpstreamError; BusyError */
export async function find(context: FindContext, search: Search): Promise<Found> {
  const { limit = DEFAULT_LIMIT, offset = 0, sort = 'score', leastProbability } = search
  const [text] = search.terms.flatMap((term) => ('text' in term ? [term.text] : []))
  if (leastProbability !== undefined && text === undefined) {
    const message =
      'Expected a text with a least probability, which is of a text and a picture, but got none. Add a text.'
    throw new RequestError('bad_field', message)
  }
  const ranked = await rank(context, search, OVERFETCH.factor * (limit + offset))
  const rerank = search.rerank ?? context.embedder.rerankHelps
  const isJudged = text !== undefined && (rerank || leastProbability !== undefined)
  const judged = isJudged ? await judge(context, ranked, text, search.rerankMs ?? DEFAULT_RERANK_MS) : 0
  if (rerank) ranked.sort((one, other) => other.rank - one.rank)
  const accepted = ranked.filter(
    ({ probability }) => leastProbability === undefined || (probability ?? -1) >= leastProbability,
  )
  // Without a cut-off every picture is a hit, so only those on this page and before it are put in order of time.
  const inOrder = sort === 'score' ? accepted : sortedByDate(accepted, sort, leastProbability, limit + offset)
  const hits = inOrder.slice(offset, offset + limit).map(({ indexed, rank, ...hit }) => hit)
  return { hits, judged }
}

function sortedByDate(
  candidates: readonly Candidate[],
  sort: 'newest' | 'oldest',
  leastProbability: number | undefined,
  most: number,
): Candidate[] {
  const sign = sort === 'newest' ? -1 : 1
  return candidates
    .slice(0, leastProbability === undefined ? most : undefined)
    .sort((one, other) => sign * (one.picture.dateMs - other.picture.dateMs))
}

/** Candidates of all terms with their exact scores, best first. */
async function rank(context: FindContext, search: Search, wanted: number): Promise<Candidate[]> {
  const { collection, embedder, signal } = context
  const { filter = {}, minus = [] } = search
  const terms = await Promise.all(search.terms.map((term) => resolve(context, term)))
  const unwanted = await Promise.all(minus.map((text) => embedder.embedText(text, signal)))
  const count = Math.max(OVERFETCH.least, wanted)
  const found = await Promise.all(
    terms.map(({ vector, by }) => collection.candidates(vector, by, filter, count)),
  )
  const total = terms.reduce((sum, { weight }) => sum + weight, 0)
  const unique = new Map(found.flat().map((indexed) => [indexed.id, indexed]))
  return [...unique.values()]
    .map((indexed): Candidate => {
      const wantedScore = terms.reduce(
        (sum, { weight, score }) => sum + (weight / total) * score(indexed.vectors),
        0,
      )
      const contrastive = unwanted.reduce(
        (sum, text) => sum - textSimilarity(indexed.vectors, text),
        wantedScore,
      )
      const { vectors, ...picture } = indexed
      return { indexed, picture, contrastive, probability: null, rank: contrastive }
    })
    .sort((one, other) => other.contrastive - one.contrastive || (one.picture.id < other.picture.id ? -1 : 1))
}

/** The vector by which the store looks for a term, and the term's exact score of a picture. */
async function resolve({ collection, embedder, signal }: FindContext, term: Term) {
  const { weight = 1 } = term
  const { count, width } = collection.model
  if ('text' in term) {
    const text = await embedder.embedText(term.text, signal)
    return {
      weight,
      vector: text,
      by: 'any' as const,
      score: (picture: Uint16Array) => textSimilarity(picture, text),
    }
  }
  const vectors =
    'image' in term ? await embedder.embedPicture(term.image, signal) : await vectorsOf(collection, term.id)
  const score = (picture: Uint16Array) => pictureSimilarity(picture, vectors, count)
  return { weight, vector: meanVector(vectors, width), by: 'mean' as const, score }
}

async function vectorsOf(collection: Collection, id: string): Promise<Uint16Array> {
  const [found] = await collection.read({ ids: [id] })
  if (found) return found.vectors
  throw notIndexed(id)
}

export function notIndexed(id: string): RequestError {
  const quoted = JSON.stringify(id.length > 80 ? `${id.slice(0, 80)}…` : id)
  return new RequestError(
    'not_indexed',
    `Expected a picture of the collection but it has none with the id ${quoted}.`,
  )
}

/** Sets probability and rank of the first candidates, as many as the time allows. @returns how many */
async function judge(
  { embedder, pictureOf, signal }: FindContext,
  candidates: readonly Candidate[],
  text: string,
  withinMs: number,
): Promise<number> {
  const endsAt = performance.now() + withinMs
  let judged = 0
  await inParallel(candidates.slice(0, MAX_JUDGED), embedder.batch, async (candidate) => {
    if (performance.now() >= endsAt) return
    const picture = await pictureOf(candidate.picture)
    const match = picture && (await embedder.match(picture, text, signal).catch(orUndefined))
    if (!match) return
    judged++
    candidate.probability = match.probability
    candidate.rank = JUDGED_FIRST + candidate.contrastive + match.logit
  })
  return judged
}

/** Above any score, so that candidates that were read come before those that were not. */
const JUDGED_FIRST = 1e6

/** A picture that is gone, changed or not cached any more is not judged. */
function orUndefined(error: unknown): Match | undefined {
  if (isGlimpseError(error) && error.kind === 'request') return undefined
  throw error
}
