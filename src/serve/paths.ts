// Where chat platforms are set up to call; apart from chat.ts, which takes half a second to load.

export const SLACK_PATH = '/slack/events'
export const DISCORD_PATH = '/discord/interactions'
