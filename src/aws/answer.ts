// The function `answer`: receives questions from the queue, runs the model, posts the replies.

import { openAnswering } from '../app/chat.ts'
import { PLATFORMS } from '../platforms.ts'
import { questionHandler } from '../queue/handler.ts'
import { loadFunctionConfig, openFunctionEngine, report } from './lifecycle.ts'
import { openShortenVisibility } from './visibility.ts'

/** @throws SetupError */
export async function openAnswer() {
  const secrets = PLATFORMS.flatMap((adapter) => adapter.secrets.reply)
  const config = await loadFunctionConfig([...secrets, 'GLIMPSE_API_TOKEN'])
  const engine = openFunctionEngine(config, true)
  const processor = await openAnswering({ config, engine, report })
  return { handle: questionHandler(processor), shortenVisibility: openShortenVisibility(config.queue) }
}
