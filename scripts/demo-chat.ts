// npm run demo:chat: plays conversations in Slack and on Discord without an account, and prints them as users read them.
// The real adapters and the embedded model answer; the platforms are the test doubles, on this machine.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { type Engine, startEngine } from '../src/engine/engine.ts'
import { openHarness, quiet } from '../test/discord/harness.ts'
import { startSlackHarness } from '../test/slack/harness.ts'

const DEMO = join(import.meta.dirname, '../models/demo')
const picture = (name: string) => readFile(join(DEMO, name))

const heading = (text: string) => console.log(`\n── ${text} ${'─'.repeat(Math.max(0, 72 - text.length))}`)
const line = (who: string, text: string, depth = 0) => {
  const [first, ...rest] = text.split('\n')
  const margin = `${'   '.repeat(depth)}${who.padEnd(9)}`
  console.log(`${margin}${first}`)
  for (const more of rest) console.log(`${' '.repeat(margin.length)}${more}`)
}

const engine = await startEngine({ artifact: await embeddedArtifact(readConfig({}).cacheFolder) })
console.log(`The model: ${engine.model.name}. ${engine.model.about?.sees ?? ''}`)
await inSlack(engine)
await onDiscord(engine)
await engine.close()
process.exit()

async function inSlack(engine: Engine): Promise<void> {
  const slack = await startSlackHarness({ engine })
  const { ann, ben, annId, benId, botId, channel } = slack
  const names: Record<string, string> = { [annId]: 'ann', [benId]: 'ben', [botId]: 'Glimpse' }
  const mention = (text: string) => `<@${botId}> ${text}`
  const shown = (text: string) => text.replace(`<@${botId}>`, '@Glimpse').trim()

  const printThread = async (ts: string, first: string) => {
    await slack.processor.drained()
    const { messages } = await ann.conversations.replies({ channel, ts })
    const [root, ...replies] = messages ?? []
    line(names[root!.user!] ?? '?', `${shown(root!.text ?? '')} ${first}`.trim())
    for (const reply of replies) {
      const files = (reply.files ?? []).map(({ name }) => `[${name}]`).join(' ')
      line(names[reply.user!] ?? '?', `${readable(reply)} ${files}`.trim(), 1)
    }
  }
  /** Uploads a picture and says something below it, each after the reply to the one before. Returns its thread. */
  const talk = async (file: string, text: string, below: readonly string[]) => {
    const thread = await slack.upload(ann, [await picture(file)], text)
    await slack.processor.drained()
    for (const each of below) {
      await ben.chat.postMessage({ channel, thread_ts: thread, text: each })
      await slack.processor.drained()
    }
    return thread
  }
  /** Returns the text that the message's blocks show, or its plain text if it has no blocks. */
  const readable = (message: { text?: string; blocks?: unknown[] }) => {
    const texts = (message.blocks ?? []).flatMap((block) => textsIn(block))
    return texts.length > 0 ? texts.join('\n') : shown(message.text ?? '')
  }

  heading('Slack, #pictures')
  const first = await slack.upload(ann, [await picture('crab-and-helicopter.png')], mention(''))
  await slack.processor.drained()
  await ben.chat.postMessage({ channel, thread_ts: first, text: 'what is on the right?' })
  await slack.processor.drained()
  await ben.chat.postMessage({ channel, thread_ts: first, text: 'ha, lovely' })
  await ann.chat.postMessage({ channel, thread_ts: first, text: mention('what color is the background?') })
  await printThread(first, '[crab-and-helicopter.png]')

  heading('Slack, several pictures at once')
  const both = [await picture('guitars.png'), await picture('train-on-white.png')]
  const second = await slack.upload(ben, both, mention('how many things are there?'))
  await printThread(second, '[guitars.png] [train-on-white.png]')

  heading('Slack, no picture: only ben sees the answer')
  await ben.chat.postMessage({ channel, text: mention('what is this?') })
  await slack.processor.drained()
  line('ben', '@Glimpse what is this?')
  const ephemeral = slack.calls.filter(({ method }) => method === 'chat.postEphemeral').at(-1)
  line('Glimpse', ephemeral?.body.text ?? '', 1)

  heading('Slack, words that are no question, in any language')
  const mascot = await talk('tigers-and-umbrella.png', mention('our new mascots! 🎉'), [
    mention('beschreibe das Bild'),
    mention('un texte alternatif, stp'),
    mention('thanks a lot!'),
    mention('who are you?'),
    'lunch at noon?',
    'is that yours, ann?',
  ])
  await printThread(mascot, '[tigers-and-umbrella.png]')

  heading('Slack, a newer picture in the thread, and which one is meant')
  const newer = await talk('guitars.png', mention('what is this?'), ['how many are there?'])
  await slack.upload(ben, [await picture('train-on-white.png')], 'mine is better', newer)
  await slack.processor.drained()
  for (const text of ['what color is the background?', 'and the first picture?', 'describe both']) {
    await ann.chat.postMessage({ channel, thread_ts: newer, text: mention(text) })
    await slack.processor.drained()
  }
  await printThread(newer, '[guitars.png]')

  heading('Slack, ten questions in a row')
  const many = await talk('sunflower-basketball-watermelon.png', mention(''), [
    'how many things are there?',
    'what is on the left?',
    'what is on the right?',
    'is there a sunflower?',
    'is there a cat?',
    'what color is the background?',
    'how many sunflowers are there?',
    'is there an animal?',
    'what is in the middle?',
    'is there a basketball?',
  ])
  await printThread(many, '[sunflower-basketball-watermelon.png]')

  heading('Slack, a picture that the model does not know: no alt text, and no turn of the conversation')
  const unknown = await talk('faces-out-of-domain.png', mention(''), [mention('what is this?')])
  await printThread(unknown, '[faces-out-of-domain.png]')

  heading('Slack, ann deletes the picture: its replies go, the words of others stay')
  await ann.chat.delete({ channel, ts: mascot })
  await slack.processor.drained()
  const deleted = slack.calls.filter(({ method }) => method === 'chat.delete').length
  line('', `${deleted} replies were deleted`, 1)
  await slack.close()
}

async function onDiscord(engine: Engine): Promise<void> {
  // The harness is typed for its engine double; it calls only the methods of Engine.
  const harness = await openHarness({ engine: engine as never, answers: 'reply' })
  const { discord, bot, ann, channel } = harness
  const file = async (filename: string) => ({
    filename,
    bytes: await picture(filename),
    contentType: 'image/png',
  })
  const mention = `<@${discord.botId}>`
  const print = (viewer: string, place = channel) => {
    for (const { author, content, files, isEphemeral } of discord.read(place, viewer)) {
      const attached = files.map((name) => `[${name}]`).join(' ')
      const text = `${content.replace(mention, '@Glimpse')} ${attached}`.trim()
      line(author === discord.world.bot.username ? 'Glimpse' : author, text, author === 'ann' ? 0 : 1)
      if (isEphemeral) line('', `(only ann sees this)`, 1)
    }
  }

  heading('Discord, #pictures')
  const crab = discord.say(ann, channel, { content: mention, files: [await file('crab-and-helicopter.png')] })
  await quiet(bot)
  const reply = discord.read(channel).find(({ replyTo }) => replyTo === crab)!
  discord.say(ann, channel, { content: 'what is on the left?', replyTo: reply.id })
  await quiet(bot)
  await discord.invoke(ann, channel, {
    command: 'caption',
    options: { image: await file('umbrellas-above-eggplants.png'), question: 'what is at the top?' },
    locale: 'de',
  })
  await quiet(bot)
  await discord.invoke(ann, channel, { command: 'Describe this image', target: crab })
  await quiet(bot)
  print(ann)

  heading('Discord, a first direct message')
  const direct = discord.direct(ann)
  discord.say(ann, direct, { content: 'hello' })
  await quiet(bot)
  discord.say(ann, direct, { content: '', files: [await file('guitars.png')] })
  await quiet(bot)
  discord.say(ann, direct, { content: 'how many are there' })
  await quiet(bot)
  print(ann, direct)
  await harness.close()
}

/** Returns all texts in a block, at any depth. */
function textsIn(block: unknown): string[] {
  if (typeof block !== 'object' || block === null) return []
  const { type, text, elements } = block as { type?: string; text?: unknown; elements?: unknown[] }
  // Buttons.
  if (type === 'actions') return []
  const own = typeof text === 'string' ? [text] : textsIn(text)
  return [...own, ...(elements ?? []).flatMap(textsIn)]
}
