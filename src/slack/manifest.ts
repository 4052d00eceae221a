// What Slack is told the app is: pasted once, it makes an app that can do what events.ts listens for, and no more.
//
// Source: docs.slack.dev, "App manifest reference".

import { en } from '../i18n/en.ts'
import { CAPTION_COMMAND, DESCRIBE_SHORTCUT, SETTINGS_COMMAND } from './interactions.ts'
import { SLACK_PATH } from './settings.ts'

/** Each with the reason it is asked for. */
const SCOPES = {
  'app_mentions:read': 'hears its name',
  'channels:history':
    'hears pictures, follow-ups and deletions in public channels it is in, and reads a thread that it is asked in',
  'chat:write': 'answers',
  commands: '/caption and the message menu',
  'files:read': 'fetches the picture',
  'groups:history': 'the same in private channels',
  'im:history': 'the same in direct messages',
  'im:write': 'tells the asker where it may not speak',
  'mpim:history': 'the same in group messages',
  'reactions:write': 'shows that it looks, where there is no status',
  'users:read': "reads the asker's language, and whether a guest changes settings",
}

/** @param url this server's address, for HTTP; without it the app connects from here (Socket Mode). */
export function slackManifest(url?: string): object {
  const request = url === undefined ? {} : { request_url: `${url.replace(/\/$/, '')}${SLACK_PATH}` }
  const commandUrl = url === undefined ? {} : { url: request.request_url }
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
        {
          command: CAPTION_COMMAND,
          ...commandUrl,
          description: en.command.caption,
          usage_hint: '[question]',
          should_escape: false,
        },
        {
          command: SETTINGS_COMMAND,
          ...commandUrl,
          description: en.command.settings,
          should_escape: false,
        },
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
