// Slack's views: the modal of /caption, the modal of a channel's settings, and the app's home.

import type { types, ViewOutput } from '@slack/bolt'
import type { ModelCard } from '../engine/protocol.ts'
import type { Messages } from '../i18n/messages.ts'
import { plain, section } from './render.ts'

export const CAPTION_VIEW = 'caption'
export const ASK_VIEW = 'ask'
export const SETTINGS_VIEW = 'caption_settings'
export const OPT_OUT_ACTION = 'opt_out'
export const OPT_IN_ACTION = 'opt_in'

const PICTURE = 'picture'
const QUESTION = 'question'
const AUTOMATIC = 'automatic'
type SubmittedValues = ViewOutput['state']['values']

/** Slack's maximum (docs.slack.dev, "File input element"), and the most pictures of one reply. */
const MAX_FILES = 10
const MAX_QUESTION_CHARACTERS = 500
const FILE_TYPES = ['jpg', 'jpeg', 'png', 'gif', 'webp', 'avif', 'tiff', 'tif', 'heic']

/** `question` is the initial text of the question. */
export function captionView({ modal }: Messages, question: string): types.ModalView {
  const element = {
    type: 'plain_text_input',
    action_id: QUESTION,
    max_length: MAX_QUESTION_CHARACTERS,
  } as const
  const initial_value = question.slice(0, MAX_QUESTION_CHARACTERS)
  return {
    ...frame(modal.title, modal.submit, modal.cancel),
    blocks: [
      input(modal.picture, {
        type: 'file_input',
        action_id: PICTURE,
        filetypes: FILE_TYPES,
        max_files: MAX_FILES,
      }),
      input(modal.question, initial_value ? { ...element, initial_value } : element, modal.questionHint),
    ],
  }
}

/** A window for a question. `private_metadata` comes back with its submission. */
export function askView({ modal }: Messages, private_metadata: string): types.ModalView {
  const element = {
    type: 'plain_text_input',
    action_id: QUESTION,
    max_length: MAX_QUESTION_CHARACTERS,
  } as const
  return {
    ...frame(modal.askTitle, modal.submitQuestion, modal.cancel),
    callback_id: ASK_VIEW,
    private_metadata,
    blocks: [input(modal.question, element)],
  }
}

export function parseAskSubmission(values: SubmittedValues): string {
  return (values[QUESTION]?.[QUESTION]?.value ?? '').trim()
}

/** The submission of `captionView`: unchecked files, and the question or ''. */
export function parseCaptionSubmission(values: SubmittedValues): { files: unknown[]; question: string } {
  const files = values[PICTURE]?.[PICTURE]?.files ?? []
  return { files, question: (values[QUESTION]?.[QUESTION]?.value ?? '').trim() }
}

export function settingsView({ modal, command }: Messages, isAutomatic: boolean): types.ModalView {
  const option: types.PlainTextOption = { text: plain(command.settingsAutomatic), value: AUTOMATIC }
  const options = { options: [option], ...(isAutomatic ? { initial_options: [option] } : {}) }
  const checkboxes: types.Checkboxes = { type: 'checkboxes', action_id: AUTOMATIC, ...options }
  return {
    ...frame(modal.settingsTitle, modal.save, modal.cancel),
    blocks: [input(modal.settingsTitle, checkboxes, modal.automaticHint)],
  }
}

/** Whether automatic captions are chosen in `settingsView`. */
export function parseSettingsSubmission(values: SubmittedValues): boolean {
  return (values[AUTOMATIC]?.[AUTOMATIC]?.selected_options ?? []).length > 0
}

/** What the model recognizes, how to use the app, what it does with pictures, and the opt-out. */
export function homeView(
  { home, command, englishOnly }: Messages,
  model: ModelCard | undefined,
  { hasOptedOut, keepHours }: { hasOptedOut: boolean; keepHours: number },
): types.HomeView {
  const [action, label] = hasOptedOut ? [OPT_IN_ACTION, home.optIn] : [OPT_OUT_ACTION, command.privacyOptOut]
  const sees = model?.about?.sees
  return {
    type: 'home',
    blocks: [
      header(home.title),
      ...(sees ? [header(home.sees), section(sees)] : []),
      header(home.howTitle),
      section(home.how.map((line) => `•  ${line}`).join('\n')),
      section(englishOnly),
      header(home.privacyTitle),
      section(home.privacy(keepHours)),
      ...(hasOptedOut ? [section(home.optedOut)] : []),
      { type: 'actions', elements: [{ type: 'button', action_id: action, text: plain(label) }] },
    ],
  }
}

function frame(title: string, submit: string, close: string) {
  return { type: 'modal', title: plain(title), submit: plain(submit), close: plain(close) } as const
}

/** An input with a hint is optional. */
function input(label: string, element: types.InputBlock['element'], hint?: string): types.InputBlock {
  const optional = hint ? { optional: true, hint: plain(hint) } : {}
  return { type: 'input', block_id: element.action_id, label: plain(label), element, ...optional }
}

function header(text: string): types.HeaderBlock {
  return { type: 'header', text: plain(text) }
}
