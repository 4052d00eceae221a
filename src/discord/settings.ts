// How this bot is known to Discord, and how it behaves there.

export interface DiscordSettings {
  /** The bot's token: speaks as the bot. */
  token: string
  /** Answers to a message: beside it, or in a thread of their own. */
  answers: 'reply' | 'thread'
  /** Whether the privileged Message Content intent is switched on: then follow-ups in threads need no mention. */
  messageContent: boolean
  /** Where the API is instead, without `/v10`: a stand-in on this machine. */
  apiUrl?: string
  /** Origin that pictures may come from besides Discord's hosts: a stand-in on this machine. */
  picturesUrl?: string
}
