// Slack's windows of ours: where /caption takes a picture, where a channel is set, and the app's home.

import type { types } from '@slack/bolt'
import { z } from 'zod'
import type { ModelCard } from '../engine/protocol.ts'
import type { Messages } from '../i18n/messages.ts'
import { section } from './render.ts'

export const CAPTION_VIEW = 'caption'
export const SETTINGS_VIEW = 'caption_settings'
export const OPT_OUT_ACTION = 'opt_out'
export const OPT_IN_ACTION = 'opt_in'

const PICTURE = 'picture'
const QUESTION = 'question'
const AUTOMATIC = 'automatic'
/** As many as one message is answered about (docs.slack.dev, "File input element": at most 10). */
const MAX_FILES = 10
const MAX_QUESTION = 500
const FILE_TYPES = ['jpg', 'jpeg', 'png', 'gif', 'webp', 'avif', 'tiff', 'tif', 'heic']

/** `privateMetadata` comes back with what was entered: where the answer goes. `question` stands in the field already. */
export function captionView(messages: Messages, privateMetadata: string, question: string): types.ModalView {
  const { modal } = messages
  return {
    type: 'modal',
    callback_id: CAPTION_VIEW,
    private_metadata: privateMetadata,
    title: plain(modal.title),
    submit: plain(modal.submit),
    close: plain(modal.cancel),
    blocks: [
      {
        type: 'input',
        block_id: PICTURE,
        label: plain(modal.picture),
        element: { type: 'file_input', action_id: PICTURE, filetypes: FILE_TYPES, max_files: MAX_FILES },
      },
      {
        type: 'input',
        block_id: QUESTION,
        optional: true,
        label: plain(modal.question),
        hint: plain(modal.questionHint),
        element: {
          type: 'plain_text_input',
          action_id: QUESTION,
          max_length: MAX_QUESTION,
          ...(question === '' ? {} : { initial_value: question.slice(0, MAX_QUESTION) }),
        },
      },
    ],
  }
}

const enteredSchema = z.object({
  [PICTURE]: z.object({ [PICTURE]: z.looseObject({ files: z.array(z.unknown()).nullish() }) }),
  [QUESTION]: z.object({ [QUESTION]: z.looseObject({ value: z.string().nullish() }) }).optional(),
})

/** What was entered there; files are checked by whoever reads them. */
export function parseCaptionSubmission(values: unknown): { files: unknown[]; question: string } {
  const entered = enteredSchema.parse(values)
  return {
    files: entered[PICTURE][PICTURE].files ?? [],
    question: (entered[QUESTION]?.[QUESTION].value ?? '').trim(),
  }
}

export function settingsView(
  messages: Messages,
  privateMetadata: string,
  isAutomatic: boolean,
): types.ModalView {
  const { modal } = messages
  const option: types.PlainTextOption = {
    text: plain(modal.automatic),
    description: plain(modal.automaticHint.slice(0, 75)),
    value: AUTOMATIC,
  }
  return {
    type: 'modal',
    callback_id: SETTINGS_VIEW,
    private_metadata: privateMetadata,
    title: plain(modal.settingsTitle),
    submit: plain(modal.save),
    close: plain(modal.cancel),
    blocks: [
      {
        type: 'input',
        block_id: AUTOMATIC,
        optional: true,
        label: plain(modal.settingsTitle),
        hint: plain(modal.automaticHint),
        element: {
          type: 'checkboxes',
          action_id: AUTOMATIC,
          options: [option],
          ...(isAutomatic ? { initial_options: [option] } : {}),
        },
      },
    ],
  }
}

const chosenSchema = z.object({
  [AUTOMATIC]: z.object({ [AUTOMATIC]: z.looseObject({ selected_options: z.array(z.unknown()).nullish() }) }),
})

export function parseSettingsSubmission(values: unknown): boolean {
  return (chosenSchema.parse(values)[AUTOMATIC][AUTOMATIC].selected_options ?? []).length > 0
}

/** What it can see, how to use it, what becomes of pictures, and the way out. */
export function homeView(
  messages: Messages,
  model: ModelCard | undefined,
  { hasOptedOut, keepHours }: { hasOptedOut: boolean; keepHours: number },
): types.HomeView {
  const { home } = messages
  const [action, label] = hasOptedOut ? [OPT_IN_ACTION, home.optIn] : [OPT_OUT_ACTION, home.optOut]
  const sees = model?.about?.sees
  return {
    type: 'home',
    blocks: [
      { type: 'header', text: plain(home.title) },
      ...(sees ? [{ type: 'header', text: plain(home.sees) } as const, section(sees)] : []),
      { type: 'header', text: plain(home.howTitle) },
      section(home.how.map((line) => `•  ${line}`).join('\n')),
      section(messages.englishOnly),
      { type: 'header', text: plain(home.privacyTitle) },
      section(home.privacy(keepHours)),
      ...(hasOptedOut ? [section(home.optedOut)] : []),
      {
        type: 'actions',
        elements: [{ type: 'button', action_id: action, text: plain(label) }],
      },
    ],
  }
}

function plain(text: string): types.PlainTextElement {
  return { type: 'plain_text', text, emoji: false }
}
