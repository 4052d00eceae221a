// A deleted message or file -> the replies to it and about its pictures deleted, and all that is kept about them.

import type { Engine } from '../engine/engine.ts'
import {
  type ConversationStore,
  deleteConversations,
  deletePictures,
  deleteTurn,
  type Exchange,
  loadConversation,
} from './conversation.ts'
import { deletePosted, type RetryContext } from './deliver.ts'
import type { openJobs } from './jobs.ts'
import { namesOf, type Platform } from './platform.ts'
import { forgetPost, readPost } from './posts.ts'

interface RetractionOptions {
  kept: ConversationStore
  jobs: Pick<ReturnType<typeof openJobs>, 'findDone' | 'forgetReply'>
  platformOf: (name: string) => Platform
  engine: Promise<Engine>
  retryContext: () => RetryContext
}

/** Returns the function for one id: of a message, or of a file. */
export function openRetraction({ kept, jobs, platformOf, engine, retryContext }: RetractionOptions) {
  const { store } = kept

  const retractReply = async (id: string): Promise<void> => {
    const job = await jobs.findDone(id)
    if (!job) return
    // A reply to another question in the thread names a conversation with the same turns.
    const entries = (await Promise.all(job.posts.map((post) => readPost(kept, post)))).flat()
    const names = entries.filter((each) => each.questions.includes(id)).flatMap((each) => each.conversations)
    await deleteTurn(kept, [...new Set([...job.conversations, ...names])], id)
    // Before the reply itself: the platform reports its deletion, too, and that is then about nothing.
    await deleteConversations(store, namesOf(job.posted))
    await deletePosted(job.posted, platformOf(job.platform), retryContext())
    await jobs.forgetReply(id)
  }

  return async (id: string): Promise<void> => {
    await retractReply(id)
    if ((await loadConversation(store, id))?.isReply) await deleteConversations(store, [id])
    const entries = await readPost(kept, id)
    for (const { file, message, questions, conversations } of entries) {
      for (const each of questions) await retractReply(each)
      const isDeleted = (picture: Exchange['picture']) => picture.id === file && picture.postedIn === message
      for (const name of conversations) await deletePictures(kept, name, isDeleted)
    }
    const unheld = await forgetPost(kept, entries)
    if (unheld.length === 0) return
    const open = await engine
    for (const sha256 of unheld) await open.forget?.(sha256)
  }
}
