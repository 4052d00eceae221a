// The whole path in one function: image -> pixels -> vision -> queries -> tokens -> reply.

import { createHash } from 'node:crypto'
import { AskError } from '../errors.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { toPixels } from '../image/pixels.ts'
import { endsOf, generate } from '../run/generate.ts'
import type { Model } from '../run/model.ts'
import { runQueries } from '../run/queries.ts'
import { completeSettings, type GenerationSettings } from '../run/settings.ts'
import { runVision } from '../run/vision.ts'
import { type Turn, toPrompt, turnText } from '../tokens/prompt.ts'
import type { Ask, Reply } from './ask.ts'
import { stopwatch } from './clock.ts'
import type { Memory } from './memory.ts'

export interface Watch {
  /** Called between stages and tokens: throws to end the run. */
  check: () => void
  /** Called with each new piece of text when there is one answer and no beams. */
  onToken?: (text: string) => void
}

/** Throws AskError about picture, question or settings, and whatever `watch.check` throws. */
export async function answer(model: Model, memory: Memory, ask: Ask, watch: Watch): Promise<Reply> {
  const clock = stopwatch()
  const settings = completeSettings(ask.settings ?? {})
  checkEnds(model, settings)
  const { text: prompt, ids } = fitPrompt(model, ask)
  const { image } = ask
  const picture = image ? createHash('sha256').update(image).digest('hex') : (ask.picture ?? '')

  let prefix = await memory.get(picture)
  if (!prefix) {
    if (!image) throw forgotten()
    const rgb = await clock.time('image', () => decode(image, AS_SEEN))
    watch.check()
    const pixels = await clock.time('pixels', () => toPixels(rgb, model.pixelRule))
    const vision = await clock.time('vision', () => runVision(model.vision, pixels))
    watch.check()
    const queries = await clock.time('queries', () => runQueries(model.queries, vision))
    prefix = queries.prefix.data
    await memory.set(picture, prefix)
  }

  const room = model.manifest.sizes.max_positions - model.manifest.sizes.queries - ids.length
  const fitted = { ...settings, max_new_tokens: Math.min(settings.max_new_tokens, room) }
  const spoken = watch.onToken && speaker(model, endsOf(model.manifest, settings), watch.onToken)
  const [answers] = await clock.time('tokens', () =>
    generate(
      model,
      [{ prefix, ids }],
      fitted,
      { check: watch.check, onToken: spoken?.hear },
      { forbidden: model.unreal },
    ),
  )
  spoken?.finish()

  const sequences = answers!.map((token_ids) => ({
    text: model.tokenizer.decode(token_ids).trim(),
    token_ids,
  }))
  const { text, token_ids } = sequences[0]!
  return { text, token_ids, sequences, prompt, timings_ms: clock.read(), model: model.manifest.name, picture }
}

function forgotten(): AskError {
  return new AskError(
    'picture_forgotten',
    'Expected a picture seen before but it is no longer remembered. Send its bytes.',
  )
}

function checkEnds({ manifest }: Model, settings: GenerationSettings): void {
  const { vocabulary } = manifest.sizes
  const outside = endsOf(manifest, settings).find((id) => id >= vocabulary)
  if (outside === undefined) return
  throw new AskError(
    'bad_settings',
    `Expected eos_token_id below the model's vocabulary of ${vocabulary} but got ${outside}.`,
  )
}

/** The prompt's text and ids, without as many of the oldest turns as it takes to leave room for an answer. */
function fitPrompt(model: Model, ask: Ask): { text: string; ids: number[] } {
  const { max_positions, queries } = model.manifest.sizes
  const room = max_positions - queries - 1
  let history = ask.prompt === undefined ? newestOf(model, ask, room) : []
  while (true) {
    const text = ask.prompt ?? toPrompt(ask.question, history)
    // Without words transformers lets the text begin by itself, whatever the tokenizer would put there.
    const ids = text === '' ? [model.manifest.tokens.bos_token_id] : model.tokenizer.encode(text)
    if (ids.length <= room) return { text, ids }
    if (history.length === 0) {
      throw new AskError(
        'question_too_long',
        `Expected a question of at most ${room} tokens but got ${ids.length}. Ask in fewer words.`,
      )
    }
    history = history.slice(1)
  }
}

/**
 * The newest turns that have room, and one more: tokens may join across turns, so the last word is with the whole
 * prompt. No turn is encoded more than once and none older is looked at, however long a conversation comes.
 */
function newestOf({ tokenizer }: Model, { question, history = [] }: Ask, room: number): readonly Turn[] {
  let from = history.length
  let used = from === 0 ? 0 : tokenizer.encode(toPrompt(question)).length
  while (from > 0 && used <= room) {
    from--
    used += tokenizer.encode(` ${turnText(history[from]!)}`).length
  }
  return history.slice(from)
}

/** Ids -> pieces of text, each as soon as none of its characters is left half. */
function speaker(model: Model, endIds: readonly number[], onToken: (text: string) => void) {
  const ids: number[] = []
  let said = ''
  const speak = () => {
    const text = model.tokenizer.decode(ids).trimStart()
    if (text.length > said.length && text.startsWith(said)) onToken(text.slice(said.length))
    said = text
  }
  const isHalf = () => model.tokenizer.decode(ids).endsWith('\ufffd')
  return {
    hear(id: number) {
      if (endIds.includes(id)) return
      ids.push(id)
      if (!isHalf()) speak()
    },
    /** A character that stays half is said as the text shows it. */
    finish() {
      if (isHalf()) speak()
    },
  }
}
