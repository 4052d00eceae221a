// An artifact's folder -> an open model: manifest, tokenizer, sessions and language model, in the process that runs them.

import { rm } from 'node:fs/promises'
import { ENCODER, LANGUAGE, MATCHING, type Manifest, TEXT } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { ArtifactError, BusyError } from '../errors.ts'
import { type PreprocessorConfig, parsePreprocessorConfig } from '../image/pixels.ts'
import { openTokenizer, type Tokenizer } from '../tokens/tokenizer.ts'
import { openDecoder } from './decoder.ts'
import { openEncoderDecoder } from './encoder-decoder.ts'
import type { LanguageModel } from './language-model.ts'
import { ensurePrepacked, type PrepackOptions } from './prepacked.ts'
import { type ProviderChoice, type ResolvedProvider, resolveProvider } from './provider.ts'
import { openSession, type Provider, type Session, type SessionOptions } from './session.ts'

export interface Model extends ResolvedProvider {
  manifest: Manifest
  preprocessorConfig: PreprocessorConfig
  /** Of the language model; where there is none, that of `matching`. */
  tokenizer: Tokenizer
  /** Encodes the texts that pictures are compared with; absent if the model does not match. */
  matchingTokenizer?: Tokenizer
  /** Encodes the text that the queries read; absent where they read none. */
  queryTokenizer?: Tokenizer
  /** Ids that no answer may contain: see findNonTokenIds. */
  nonTokenIds: readonly number[]
  /** One for each graph of the manifest, by its name. */
  sessions: Sessions
  /** Absent if the model generates no text. */
  language?: LanguageModel
  close(): Promise<void>
}

export interface OpenOptions extends Pick<SessionOptions, 'threads'> {
  /** Default: the CPU. */
  provider?: ProviderChoice
  /** Prepacks weights for this CPU. Without it the artifact's graphs are opened. */
  prepack?: PrepackOptions
  /** Opens a graph when it is run, and closes the one before, so that memory holds the weights of one. */
  oneAtATime?: boolean
}

/** @throws ArtifactError, SetupError `provider_missing` or `graph_refused`, BusyError `out_of_memory`. */
export async function openModel(
  folder: string,
  {
    threads,
    prepack,
    oneAtATime,
    provider: choice = { requested: 'cpu', onUnavailable: 'fail' },
  }: OpenOptions = {},
): Promise<Model> {
  const manifest = await openArtifact(folder)
  const preprocessorConfig = parsePreprocessorConfig(manifest.preprocessor)
  const { queries, matching } = manifest
  const openFor = async (text?: { tokenizer: string } | null) =>
    text ? await openTokenizer(folder, text.tokenizer) : undefined
  const queryTokenizer = await openFor(queries.text)
  const matchingTokenizer = await openFor(matching?.text)
  const isTextless = manifest.language.kind === 'none'
  const tokenizer = (isTextless && matchingTokenizer) || (await openTokenizer(folder))
  const resolved = await resolveProvider(choice)
  const options = { threads, provider: resolved.provider }
  // Weights are prepacked for the CPU only.
  const sessions = oneAtATime
    ? graphsOneAtATime(folder, manifest, options)
    : prepack && resolved.provider === 'cpu'
      ? await openPrepacked(folder, manifest, prepack, options)
      : await openGraphs(folder, manifest, options)
  const language = openLanguageModel(manifest, sessions, resolved.provider)
  const nonTokenIds = language ? findNonTokenIds(language, tokenizer) : []
  const close = async () => {
    await Promise.all(Object.values(sessions).map((session) => session.close()))
  }
  return {
    manifest,
    preprocessorConfig,
    tokenizer,
    nonTokenIds,
    queryTokenizer,
    matchingTokenizer,
    ...resolved,
    sessions,
    language,
    close,
  }
}

/** The implementation for the manifest's kind of language model: one row for each kind. */
export function openLanguageModel(
  { language, queries, graphs }: Manifest,
  sessions: Sessions,
  provider?: Provider,
): LanguageModel | undefined {
  switch (language.kind) {
    case 'none':
      return undefined
    case 'decoder':
      return openDecoder({
        session: sessions[LANGUAGE.graph]!,
        description: language,
        queries: queries.count,
        hasHidden: graphs
          .find(({ name }) => name === LANGUAGE.graph)!
          .outputs.some(({ name }) => name === LANGUAGE.hidden),
        provider,
      })
    case 'encoder-decoder':
      return openEncoderDecoder({
        encoder: sessions[ENCODER.graph]!,
        decoder: sessions[LANGUAGE.graph]!,
        description: language,
        queries: queries.count,
        provider,
      })
  }
}

/** Ids that no answer may contain: padding of the vocabulary, and the image placeholder. */
export function findNonTokenIds(language: LanguageModel, tokenizer: Tokenizer): number[] {
  const ids = Array.from({ length: language.vocabulary }, (_, id) => id)
  return ids.filter((id) => id === language.imageTokenId || !tokenizer.isToken(id))
}

type Sessions = Readonly<Record<string, Session>>

/**
 * Opens all graphs, or none. Those that only matching needs are opened when they first run, if the model also generates: most
 * processes of such a model match nothing, and need not hold their weights.
 */
async function openGraphs(
  folder: string,
  { graphs, language }: Manifest,
  options: SessionOptions,
): Promise<Sessions> {
  const opened: Record<string, Session> = {}
  const late: readonly string[] = language.kind === 'none' ? [] : [MATCHING.graph, TEXT.graph]
  try {
    for (const { name } of graphs) {
      // The last graph runs once a token, the others once a picture or question.
      const own = { ...options, spins: name === graphs.at(-1)!.name }
      const open = () => openSession(folder, name, own)
      opened[name] = late.includes(name) ? openedLate(open) : await open()
    }
  } catch (error) {
    await Promise.allSettled(Object.values(opened).map((session) => session.close()))
    throw error
  }
  return opened
}

/** A session that `open` opens when it first runs. After a failure the next run opens it again. */
function openedLate(open: () => Promise<Session>): Session {
  let opening: Promise<Session> | undefined
  return {
    async run(feeds, outputNames) {
      opening ??= open().catch((error: unknown) => {
        opening = undefined
        throw error
      })
      return await (await opening).run(feeds, outputNames)
    },
    close: async () => await (await opening)?.close(),
  }
}

function graphsOneAtATime(folder: string, { graphs }: Manifest, options: SessionOptions): Sessions {
  let open: { name: string; session: Session } | undefined
  const close = async () => {
    const closing = open?.session
    open = undefined
    await closing?.close()
  }
  const sessionOf = (name: string): Session => ({
    async run(feeds, outputNames) {
      if (open?.name !== name) {
        await close()
        open = { name, session: await openSession(folder, name, options) }
      }
      return await open.session.run(feeds, outputNames)
    },
    close,
  })
  return Object.fromEntries(graphs.map(({ name }) => [name, sessionOf(name)]))
}

async function openPrepacked(
  artifact: string,
  manifest: Manifest,
  prepack: PrepackOptions,
  options: SessionOptions,
): Promise<Sessions> {
  const prepacked = await ensurePrepacked(artifact, manifest, prepack)
  if (prepacked === artifact) return openGraphs(artifact, manifest, options)
  return openGraphs(prepacked, manifest, options).catch(async (error: unknown) => {
    // The artifact's graphs would need more memory.
    if (error instanceof BusyError) throw error
    // Only damaged files, for example after a crash of the machine, are removed. The next start makes them again.
    if (error instanceof ArtifactError) await rm(prepacked, { recursive: true, force: true }).catch(() => {})
    prepack.onFailed?.(error)
    return openGraphs(artifact, manifest, options)
  })
}
