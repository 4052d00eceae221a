// Slack's views: the modal of /caption, the modal of a channel's settings, and the app's home.

import type { types } from '@slack/bolt'
import { z } from 'zod'
import { list } from '../chat/payload.ts'
import type { ModelCard } from '../engine/protocol.ts'
import type { Messages } from '../i18n/messages.ts'
import { plain, section } from './render.ts'

export const CAPTION_VIEW = 'caption'
export const SETTINGS_VIEW = 'caption_settings'
export const OPT_OUT_ACTION = 'opt_out'
export const OPT_IN_ACTION = 'opt_in'

const PICTURE = 'picture'
const QUESTION = 'question'
const AUTOMATIC = 'automatic'
/** Slack's maximum (docs.slack.dev, "File input element"), and the most pictures of one reply. */
const MAX_FILES = 10
const MAX_QUESTION_CHARACTERS = 500
/** Characters of an option's description ("Option object"). */
const MAX_DESCRIPTION_CHARACTERS = 75
const FILE_TYPES = ['jpg', 'jpeg', 'png', 'gif', 'webp', 'avif', 'tiff', 'tif', 'heic']

/** `privateMetadata` is returned with the submission. `question` is the initial text of the question. */
export function captionView({ modal }: Messages, privateMetadata: string, question: string): types.ModalView {
  return {
    ...frame(modal.title, modal.submit, modal.cancel),
    callback_id: CAPTION_VIEW,
    private_metadata: privateMetadata,
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
          max_length: MAX_QUESTION_CHARACTERS,
          ...(question === '' ? {} : { initial_value: question.slice(0, MAX_QUESTION_CHARACTERS) }),
        },
      },
    ],
  }
}

const captionSchema = z.object({
  [PICTURE]: z.object({ [PICTURE]: z.object({ files: list(z.unknown()) }) }),
  [QUESTION]: z.object({ [QUESTION]: z.object({ value: z.string().nullish() }) }).optional(),
})

/** The submission of `captionView`: unchecked files, and the question or ''. */
export function parseCaptionSubmission(values: unknown): { files: unknown[]; question: string } {
  const entered = captionSchema.parse(values)
  return {
    files: entered[PICTURE][PICTURE].files,
    question: (entered[QUESTION]?.[QUESTION].value ?? '').trim(),
  }
}

export function settingsView(
  { modal }: Messages,
  privateMetadata: string,
  isAutomatic: boolean,
): types.ModalView {
  const option: types.PlainTextOption = {
    text: plain(modal.automatic),
    description: plain(modal.automaticHint.slice(0, MAX_DESCRIPTION_CHARACTERS)),
    value: AUTOMATIC,
  }
  return {
    ...frame(modal.settingsTitle, modal.save, modal.cancel),
    callback_id: SETTINGS_VIEW,
    private_metadata: privateMetadata,
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

const settingsSchema = z.object({
  [AUTOMATIC]: z.object({ [AUTOMATIC]: z.object({ selected_options: list(z.unknown()) }) }),
})

/** Whether automatic captions are chosen in `settingsView`. */
export function parseSettingsSubmission(values: unknown): boolean {
  return settingsSchema.parse(values)[AUTOMATIC][AUTOMATIC].selected_options.length > 0
}

/** What the model recognizes, how to use the app, what it does with pictures, and the opt-out. */
export function homeView(
  { home, englishOnly }: Messages,
  model: ModelCard | undefined,
  { hasOptedOut, keepHours }: { hasOptedOut: boolean; keepHours: number },
): types.HomeView {
  const [action, label] = hasOptedOut ? [OPT_IN_ACTION, home.optIn] : [OPT_OUT_ACTION, home.optOut]
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

function header(text: string): types.HeaderBlock {
  return { type: 'header', text: plain(text) }
}
