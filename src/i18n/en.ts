// The English texts of chat replies, which the other languages translate. The texts of the model itself are English in
// every language.

export const en = {
  /** BCP 47. */
  locale: 'en',
  /** Reasons for no answer. */
  problem: {
    no_picture: 'I found no picture. Post one with your question, or ask in the thread of one.',
    not_a_picture: 'I cannot read that file as a picture. I read JPEG, PNG, WebP, GIF, AVIF and TIFF.',
    damaged_picture: 'That picture is damaged or not complete. Please post it again.',
    picture_too_large: (limitMib: number) =>
      `That picture is too large. Please post one of at most ${limitMib} MB.`,
    too_many_pixels: (millions: number) =>
      `That picture has too many pixels. Please post one of at most ${millions} megapixels.`,
    picture_gone: 'That picture is no longer there. Please post it again.',
    picture_forbidden: 'I am not allowed to open that picture. Invite me to its channel, or post it here.',
    picture_unreachable: 'I could not fetch that picture just now. Please try again.',
    question_too_long: 'That question is too long for me. Please ask in fewer words.',
    busy: (ahead: number) =>
      `I am busy: ${ahead} ${ahead === 1 ? 'request is' : 'requests are'} before you. ` +
      'Please try again in a minute.',
    restarting: 'I am just starting again. Please try once more in a minute.',
    deadline: 'That took too long. Please try again in a minute.',
    unseen:
      'I cannot see what is shown there, such as a preview of a link or an embed. Post the picture itself.',
    opted_out: 'The person who posted that picture asked me not to describe their pictures.',
    limit: (when: string) => `You have reached your limit. You can ask again ${when}.`,
    not_allowed: 'You are not allowed to change that here.',
    not_yours: 'Only the person who asked can do that, or a moderator.',
    needs_intent:
      'Without the Message Content intent I do not see such pictures. An administrator of Glimpse has to switch it on first.',
    not_here: 'I am not in this channel. Invite me first: /invite @Glimpse',
    cannot_reply: 'I am not allowed to answer in that channel, so I answer here.',
    blocked: 'The automatic moderation of this server (AutoMod) blocked my answer.',
    internal: 'Something went wrong on my side. Please try again.',
  },
  /** The status while the model runs. */
  looking: 'is looking at the picture…',
  waiting: (ahead: number) => `has ${ahead} ${ahead === 1 ? 'request' : 'requests'} to answer before you…`,
  /** In place of an empty answer. */
  nothing: 'I have nothing to say about this picture.',
  /** Where it may be unclear which picture a reply is about. A picture without a name has its number. */
  about: (names: string) => `About ${names}.`,
  picture: (number: number) => `picture ${number}`,
  /** In place of a caption and of an answer by which the model says that it does not know. */
  unknownPicture: 'I do not know what is in this picture.',
  unsure: 'I am not sure.',
  /** Replies to words that want neither a description nor an answer. */
  small: {
    thanks: 'You are welcome!',
    greeting: 'Hello! Show me a picture and I describe it, or ask me about one. “help” tells you more.',
    who: 'I am Glimpse, a bot that describes pictures and answers questions about them. I am a machine and can be wrong.',
    reaction: '👍',
    denial: 'I can be wrong. Ask me about one thing in the picture, and I look again.',
  },
  /** Under the first answer in direct messages. */
  firstDirect: 'You can ask me about this picture here, or send me another one. “help” tells you more.',
  machineMade: 'Described by a machine; it can be wrong.',
  englishOnly: 'Its descriptions are in English.',
  /** Pictures of a message that got no caption. */
  leftOut: (count: number) => `${count} more ${count === 1 ? 'picture was' : 'pictures were'} left out.`,
  /** Label of a caption that can be copied. */
  altText: 'Alt text, ready to copy:',
  /** Above a caption that somebody asked for, where the picture's author wrote one. */
  authorsAltText: (text: string) => `Alt text by the author: “${text}”`,
  /** Buttons under a reply. */
  button: { ask: 'Ask about it', again: 'Again', delete: 'Delete' },
  command: {
    caption: 'Describes a picture, or answers a question about it',
    captionImage: 'The picture',
    captionQuestion: 'What you want to know; leave it out for a description',
    ask: 'Answers a question about your last picture here',
    askQuestion: 'What you want to know',
    askImage: 'Another picture',
    settings: 'Whether every picture in this channel is described',
    settingsAutomatic: 'Describe every picture posted here',
    privacy: 'Whether your pictures may be described',
    privacyOptOut: 'Do not describe my pictures',
  },
  modal: {
    title: 'Describe a picture',
    submit: 'Describe',
    cancel: 'Cancel',
    picture: 'Picture',
    question: 'Question',
    questionHint: 'Leave it empty for a description.',
    submitQuestion: 'Ask',
    askTitle: 'Ask about the picture',
    settingsTitle: 'Glimpse in this channel',
    save: 'Save',
    automaticHint: 'Off by default. A message in the channel announces the change.',
  },
  home: {
    title: 'Glimpse says what is in a picture',
    sees: 'What it can see',
    howTitle: 'How to use it',
    how: [
      'Mention me with a picture, or in the thread of one. Add a question, or nothing for a description.',
      'Ask on in the thread, without posting the picture again.',
      'Choose “Describe this image” in a message’s menu: only you see the answer.',
      'Send me a picture in a direct message, or use /caption.',
    ],
    privacyTitle: 'Your pictures',
    privacy: (hours: number) =>
      'Pictures are not kept. What I need to continue a thread is deleted after ' +
      `${hours} ${hours === 1 ? 'hour' : 'hours'}.`,
    optIn: 'Describe my pictures again',
    optedOut: 'Your pictures are not described for anyone.',
  },
  /** Replies to a settings command. */
  done: {
    deleted: 'Deleted.',
    automaticOn: 'From now on I describe every picture posted in this channel.',
    automaticOff: 'I no longer describe pictures in this channel by myself.',
    optedOut: 'I will not describe your pictures any more.',
    optedIn: 'I will describe your pictures again.',
  },
}
