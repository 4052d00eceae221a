// Settings -> the chat side of a process: platforms that send events, a processor that answers, and a queue in between if
// one is set.
//
//   glimpse serve    receives and answers; with a queue, through it
//   glimpse listen   receives: questions go into the queue
//   glimpse work     answers what is in the queue
//   functions        one receives for each platform (openSink), one answers (openAnswering)

import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenAdapter, WebhookHandler } from '../chat/adapter.ts'
import { lastQuestion } from '../chat/conversation.ts'
import { openPreferences, type Preferences } from '../chat/preferences.ts'
import { openProcessor, type QuestionProcessor, type QuestionSink } from '../chat/processor.ts'
import { createRateLimiter } from '../chat/rate-limit.ts'
import type { Config } from '../config.ts'
import type { Engine } from '../engine/engine.ts'
import { PLATFORMS } from '../platforms.ts'
import { questionHandler } from '../queue/handler.ts'
import { openQueue } from '../queue/open.ts'
import { queueProducer } from '../queue/producer.ts'
import type { Consumer } from '../queue/queue.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'

const SWEEP_EVERY_MS = HOUR_MS
/** Share of the grace period that answers may take. The rest is for returning unanswered messages to the queue. */
const ANSWER_SHARE_OF_GRACE = 0.85

export interface State {
  store: Store
  preferences: Preferences
  lastQuestion(conversation: string): Promise<string>
}

/**
 * Opens the store and the preferences of channels and users.
 * @param isChecked false: a bucket is not checked, so that it opens while S3 fails. Default true
 * @throws SetupError
 */
export async function openState(config: Config, isChecked = true): Promise<State> {
  const store = await openStore(config.state, isChecked)
  return {
    store,
    preferences: openPreferences(store),
    lastQuestion: (conversation) => lastQuestion(store, conversation),
  }
}

/** Opens the queue and the sink that a process without a model submits questions to. @throws SetupError `bad_queue` */
export async function openSink(config: Config, state: State) {
  const queue = await openQueue(config.queue)
  return { queue, sink: queueProducer({ queue, ...state, keepMs: config.keepHours * HOUR_MS }) }
}

/** The platforms whose secrets are set. @throws SetupError when a secret is missing */
async function openPlatforms(config: Config) {
  const opened = await Promise.all(
    PLATFORMS.map(async ({ label, webhookPath, ...adapter }) => {
      const open = await adapter.open(config)
      return open && { ...open, label, webhookPath }
    }),
  )
  return opened.filter((platform) => platform !== undefined)
}

interface AnsweringOptions {
  config: Config
  engine: Promise<Engine>
  report: (error: unknown) => void
}

/** Answers questions on every platform whose secrets are set. @throws SetupError */
export async function openAnswering(options: AnsweringOptions): Promise<QuestionProcessor> {
  return processorOf(options, await openPlatforms(options.config), await openState(options.config))
}

function processorOf(
  { config, engine, report }: AnsweringOptions,
  platforms: readonly OpenAdapter[],
  state: State,
): QuestionProcessor {
  const limits = { perMinute: config.asksPerMinute, perHour: config.asksPerHour }
  return openProcessor({
    ...state,
    engine,
    platforms: platforms.map(({ platform }) => platform),
    rateLimiter: createRateLimiter(limits, { store: state.store, time: { now: Date.now, sleep } }),
    maxQueue: config.maxQueue,
    keepMs: config.keepHours * HOUR_MS,
    report,
  })
}

export interface Chat {
  /** Webhooks by path. Each checks a signature. */
  handlers: Record<string, WebhookHandler>
  /** `Slack`, `Discord`: the platforms that are configured. */
  names: string[]
  /**
   * Connects to the platforms, and answers the questions that an earlier process left unanswered.
   * @throws SetupError if a platform refuses a token
   */
  start(): Promise<void>
  /** What is left to do before events arrive, once started: one sentence a platform. */
  hints(): string[]
  /** Why events of a platform no longer arrive; undefined while all connections are open. */
  fault(): string | undefined
  /** Accepts no more events. Running answers may take `graceMs`; another process or the next start answers the rest. */
  stop(graceMs: number): Promise<void>
}

/**
 * @param options `engine`: absent if other processes answer, which requires a queue. `receives`: whether this process
 *   connects to the platforms
 * @throws SetupError if a secret is missing, or the store or the queue cannot be opened
 */
export async function openChat({
  config,
  engine,
  receives,
  report,
}: Omit<AnsweringOptions, 'engine'> & { engine?: Promise<Engine>; receives: boolean }): Promise<Chat> {
  const platforms = await openPlatforms(config)
  const state = await openState(config)
  const through = config.queue === '' ? undefined : await openSink(config, state)
  const processor = engine && processorOf({ config, engine, report }, platforms, state)
  const sink: QuestionSink = through?.sink ?? processor!
  const deps = { ...state, sink, engine, keepMs: config.keepHours * HOUR_MS, report }
  const sources = receives ? platforms.map((each) => ({ ...each.receive(deps), path: each.webhookPath })) : []
  let consumer: Consumer | undefined
  let sweeping: NodeJS.Timeout | undefined
  let isStopping = false

  /** Answers the queue's messages, or without a queue what an earlier process left. */
  const startAnswering = (by: QuestionProcessor) => {
    if (!through) return by.recoverAbandoned()
    if (isStopping) return
    const concurrency = Math.min(config.maxBatch, config.maxQueue)
    consumer = through.queue.consume(questionHandler(by), { concurrency })
    // The queue delivers unanswered messages again by itself; only expired records need removing.
    const sweep = async () => {
      await state.store.sweep()
      await by.removeSigns()
    }
    void by.removeSigns().catch(report)
    sweeping = setInterval(() => void sweep().catch(report), SWEEP_EVERY_MS).unref()
  }
  return {
    handlers: Object.fromEntries(
      sources.flatMap(({ path, webhook }) => (webhook ? [[path, webhook] as const] : [])),
    ),
    names: platforms.map(({ label }) => label),
    async start() {
      await through?.queue.check()
      for (const source of sources) await source.start()
      // Once the model is ready.
      if (processor) void engine.then(() => startAnswering(processor)).catch(() => {})
    },
    hints: () => sources.flatMap(({ hint }) => hint?.() ?? []),
    fault: () => sources.map(({ fault }) => fault?.()).find((found) => found !== undefined)?.message,
    async stop(graceMs) {
      await Promise.allSettled(sources.map((source) => source.stop()))
      await through?.sink.drained()
      isStopping = true
      clearInterval(sweeping)
      const answersMs = through ? graceMs * ANSWER_SHARE_OF_GRACE : graceMs
      await Promise.all([consumer?.stop(graceMs), processor?.shutdown(answersMs)])
    },
  }
}
