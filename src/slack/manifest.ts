// The app manifest: pasted into Slack once, it creates an app with the scopes and events that Glimpse uses, and no others.
//
// Source: docs.slack.dev, "App manifest reference".

import { en } from '../i18n/en.ts'
import { CAPTION_COMMAND, DESCRIBE_SHORTCUT, SETTINGS_COMMAND } from './interactions.ts'
import { SLACK_PATH } from './settings.ts'

/** Bot scopes, each with its purpose. */
const SCOPES = {
  'app_mentions:read': 'receives mentions',
  'channels:history':
    'receives pictures, follow-ups and deletions in its public channels, and reads a thread',
  'chat:write': 'posts replies',
  commands: 'slash commands and the message shortcut',
  'files:read': 'downloads pictures',
  'groups:history': 'like channels:history, in private channels',
  'im:history': 'like channels:history, in direct messages',
  'im:write': 'writes to the asker when it may not post in a channel',
  'mpim:history': 'like channels:history, in group messages',
  'reactions:write': 'shows progress where the app has no status',
  'users:read': "reads the asker's language, and whether a guest changes settings",
}

/** `url`: the public address of the server, for HTTP. Without it the app uses Socket Mode. */
export function slackManifest(url?: string): object {
  const address = url && `${url.replace(/\/$/, '')}${SLACK_PATH}`
  const request = address && { request_url: address }
  const command = { ...(address && { url: address }), should_escape: false }
  return {
    display_information: {
      name: 'Glimpse',
      description: 'Says what is in a picture, and answers questions about it',
      background_color: '#1f2a44',
    },
    features: {
      app_home: { home_tab_enabled: true, messages_tab_enabled: true, messages_tab_read_only_enabled: false },
      bot_user: { display_name: 'Glimpse', always_online: true },
      shortcuts: [
        {
          name: 'Describe this image',
          type: 'message',
          callback_id: DESCRIBE_SHORTCUT,
          description: 'Says what is in its pictures, to you alone',
        },
      ],
      slash_commands: [
        { command: CAPTION_COMMAND, ...command, description: en.command.caption, usage_hint: '[question]' },
        { command: SETTINGS_COMMAND, ...command, description: en.command.settings },
      ],
    },
    oauth_config: { scopes: { bot: Object.keys(SCOPES) } },
    settings: {
      event_subscriptions: {
        ...request,
        bot_events: [
          'app_home_opened',
          'app_mention',
          'message.channels',
          'message.groups',
          'message.im',
          'message.mpim',
        ],
      },
      interactivity: { is_enabled: true, ...request },
      org_deploy_enabled: false,
      socket_mode_enabled: url === undefined,
      token_rotation_enabled: false,
    },
  }
}
