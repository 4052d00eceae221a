// Interactions in the Discord double: one initial response within 3 s, and later responses through the interaction's
// webhook ("Receiving and responding").

import { type APIMessage, MessageFlags } from 'discord.js'
import {
  type Asked,
  type Body,
  checkContent,
  checkFlags,
  forget,
  messageOf,
  pingedBy,
  Refused,
} from './rest.ts'
import {
  eventOf,
  findMessage,
  isLoading,
  publish,
  type Stored,
  type StoredInteraction,
  type World,
} from './state.ts'

const ANSWER_WITHIN_MS = 3_000
const LIVES_MS = 15 * 60_000

/** POST /interactions/{id}/{token}/callback, or the response of an HTTP endpoint. */
export function takeCallback(world: World, id: string, token: string, body: Body): undefined {
  const interaction = world.interactions.get(token)
  if (!interaction || interaction.id !== id) throw new Refused(404, 10_062, 'Unknown interaction')
  if (interaction.state !== 'new') {
    throw new Refused(400, 40_060, 'Interaction has already been acknowledged.')
  }
  if (interaction.ageMs > ANSWER_WITHIN_MS) {
    interaction.failed = true
    throw new Refused(404, 10_062, 'Unknown interaction')
  }
  const data = (body['data'] ?? {}) as Body
  const flags = Number(data['flags'] ?? 0)
  if (interaction.component !== undefined && [6, 7, 9].includes(Number(body['type']))) {
    interaction.state = 'answered'
    if (body['type'] === 9) interaction.modal = data
    else interaction.original = interaction.component
    if (body['type'] === 7) edit(world, findMessage(world, interaction.channel, interaction.component)!, data)
    return
  }
  if (body['type'] !== 4 && body['type'] !== 5) throw new Refused(400, 50_035, 'Invalid Form Body')
  const isDeferred = body['type'] === 5
  const content = isDeferred ? '' : checkContent(data)
  interaction.state = 'answered'
  const stored = post(world, interaction, content, isDeferred ? flags | MessageFlags.Loading : flags, data)
  interaction.original = stored.message.id
}

/** GET, PATCH and DELETE /webhooks/{application}/{token}/messages/{message} */
export function answerOriginal(world: World, { method, body }: Asked, token: string, which: string): unknown {
  const interaction = interactionOf(world, token)
  const id = decodeURIComponent(which) === '@original' ? interaction.original : which
  const stored = id === undefined ? undefined : findMessage(world, interaction.channel, id)
  if (!stored) throw new Refused(404, 10_008, 'Unknown Message')
  switch (method) {
    case 'GET':
      return stored.message
    case 'PATCH':
      return edit(world, stored, body)
    case 'DELETE': {
      forget(world, world.channels.get(interaction.channel)!, stored.message.id)
      return undefined
    }
    default:
      throw new Refused(405, 0, '405: Method Not Allowed')
  }
}

/** POST /webhooks/{application}/{token}: a followup. */
export function answerWebhook(world: World, { body }: Asked, token: string): APIMessage {
  const interaction = interactionOf(world, token)
  const original = interaction.original && findMessage(world, interaction.channel, interaction.original)
  // "When using this endpoint directly after a deferral, it functions as Edit Original Interaction Response. The ephemeral
  // flag will be ignored."
  if (original && isLoading(original.message)) return edit(world, original, body)
  checkFlags(body, MessageFlags.SuppressEmbeds | MessageFlags.Ephemeral)
  return post(world, interaction, checkContent(body), Number(body['flags'] ?? 0), body).message
}

function interactionOf(world: World, token: string): StoredInteraction {
  const interaction = world.interactions.get(token)
  if (interaction?.state !== 'answered') throw new Refused(404, 10_015, 'Unknown Webhook')
  if (interaction.ageMs > LIVES_MS) throw new Refused(401, 50_027, 'Invalid Webhook Token')
  return interaction
}

function edit(world: World, stored: Stored, body: Body): APIMessage {
  const { message } = stored
  checkFlags(body, MessageFlags.SuppressEmbeds)
  message.content = checkContent(body)
  message.components = (body['components'] ?? []) as never
  message.edited_timestamp = new Date().toISOString()
  message.flags = ((message.flags ?? 0) & ~MessageFlags.Loading) as MessageFlags
  stored.pinged = pingedBy(body, message.content)
  const channel = world.channels.get(message.channel_id)!
  if (stored.onlyFor === undefined) world.dispatch('MESSAGE_UPDATE', eventOf(channel, message))
  return message
}

function post(
  world: World,
  { user, channel, id }: StoredInteraction,
  content: string,
  flags: number,
  body: Body,
): Stored {
  const message: APIMessage = {
    ...messageOf(world, channel, content, undefined, flags),
    components: (body['components'] ?? []) as never,
    application_id: world.bot.id,
    webhook_id: world.bot.id,
    interaction_metadata: {
      id,
      type: 2,
      user: world.users.get(user)!,
      authorizing_integration_owners: {},
    } as APIMessage['interaction_metadata'],
  }
  const isEphemeral = (flags & MessageFlags.Ephemeral) !== 0
  const stored: Stored = {
    message,
    pinged: pingedBy(body, content),
    ...(isEphemeral ? { onlyFor: user } : {}),
  }
  publish(world, stored)
  return stored
}
