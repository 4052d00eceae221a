// Japanese.

import type { Messages } from './messages.ts'

export const ja: Messages = {
  locale: 'ja',
  problem: {
    no_picture: '画像が見つかりません。質問と一緒に画像を投稿するか、画像のスレッドで質問してください。',
    not_a_picture:
      'このファイルは画像として読み込めません。対応形式は JPEG、PNG、WebP、GIF、AVIF、TIFF です。',
    damaged_picture: 'その画像は壊れているか、不完全です。もう一度投稿してください。',
    picture_too_large: (limit) => `その画像は大きすぎます。${limit} MB 以下の画像を投稿してください。`,
    too_many_pixels: (millions) =>
      `その画像は画素数が多すぎます。${millions}00 万画素以下の画像を投稿してください。`,
    picture_gone: 'その画像はもうありません。もう一度投稿してください。',
    picture_forbidden:
      'その画像を開く権限がありません。画像のあるチャンネルに招待するか、ここに投稿してください。',
    picture_unreachable: '今はその画像を取得できませんでした。もう一度お試しください。',
    question_too_long: '質問が長すぎます。もう少し短くしてください。',
    busy: (ahead) =>
      `混み合っています。先に ${ahead} 件の依頼があります。1 分ほどしてからもう一度お試しください。`,
    restarting: '再起動しています。1 分ほどしてからもう一度お試しください。',
    deadline: '時間がかかりすぎました。1 分ほどしてからもう一度お試しください。',
    unseen: 'リンクのプレビューなど、そこに表示されているものは見えません。画像そのものを投稿してください。',
    opted_out: 'その画像を投稿した方から、自分の画像を説明しないよう頼まれています。',
    limit: (when) => `利用の上限に達しました。${when}にまた質問できます。`,
    not_allowed: 'ここでその設定を変更する権限がありません。',
    not_yours: 'これができるのは、質問した本人かモデレーターだけです。',
    needs_intent:
      'Message Content インテントがないと、そのような画像は見えません。先に管理者が有効にする必要があります。',
    not_here: 'このチャンネルに参加していません。先に招待してください：/invite @Glimpse',
    cannot_reply: 'そのチャンネルで返信する権限がないため、こちらでお答えします。',
    blocked: 'このサーバーの自動モデレーション（AutoMod）により、回答がブロックされました。',
    internal: 'こちらで問題が発生しました。もう一度お試しください。',
  },
  looking: '画像を見ています…',
  waiting: (ahead) => `先に ${ahead} 件の依頼に答えています…`,
  nothing: 'この画像について言えることがありません。',
  about: (names) => `対象：${names}`,
  picture: (number) => `画像 ${number}`,
  unknownPicture: 'この画像に何が写っているかわかりません。',
  unsure: 'よくわかりません。',
  small: {
    thanks: 'どういたしまして！',
    greeting:
      'こんにちは！画像を見せてくれれば説明します。画像についての質問もどうぞ。「ヘルプ」で詳しく説明します。',
    who: 'Glimpse です。画像を説明し、画像についての質問に答えるボットです。機械なので間違えることがあります。',
    reaction: '👍',
  },
  firstDirect: 'この画像についてここで質問したり、別の画像を送ったりできます。「ヘルプ」で詳しく説明します。',
  machineMade: '機械による説明です。間違っていることがあります。',
  englishOnly: '説明は英語です。',
  leftOut: (count) => `ほかの画像 ${count} 枚は省略しました。`,
  altText: 'コピーして使える代替テキスト：',
  button: { ask: '質問する', again: 'もう一度', delete: '削除' },
  command: {
    caption: '画像を説明するか、画像についての質問に答えます',
    captionImage: '画像',
    captionQuestion: '知りたいこと（省略すると画像を説明します）',
    ask: 'ここであなたが最後に使った画像についての質問に答えます',
    askQuestion: '知りたいこと',
    askImage: '別の画像',
    settings: 'このチャンネルのすべての画像を説明するかどうかを設定します',
    settingsAutomatic: 'ここに投稿されるすべての画像を説明する',
    privacy: 'あなたの画像を説明してよいかどうかを設定します',
    privacyOptOut: '自分の画像を説明しない',
  },
  modal: {
    title: '画像を説明',
    submit: '説明する',
    cancel: 'キャンセル',
    picture: '画像',
    question: '質問',
    questionHint: '空欄にすると、画像を説明します。',
    submitQuestion: '質問する',
    askTitle: '画像について質問',
    settingsTitle: 'このチャンネルでの Glimpse',
    save: '保存',
    automaticHint: '誰かがオンにするまではオフです。オンにするとチャンネルに通知されます。',
  },
  home: {
    title: 'Glimpse は画像に何が写っているかをお伝えします',
    sees: '見分けられるもの',
    howTitle: '使い方',
    how: [
      '画像を付けて、または画像のスレッドで私をメンションしてください。質問がなければ、画像を説明します。',
      'スレッドでは、画像を投稿し直さずに続けて質問できます。',
      'メッセージのメニューで「Describe this image」を選ぶと、答えはあなただけに表示されます。',
      'ダイレクトメッセージで画像を送るか、/caption を使ってください。',
    ],
    privacyTitle: 'あなたの画像',
    privacy: (hours) =>
      `画像は保存しません。スレッドで続けて答えるために必要な情報は、${hours} 時間後に消去します。`,
    optIn: '自分の画像をまた説明する',
    optedOut: '誰に頼まれても、あなたの画像は説明しません。',
  },
  done: {
    deleted: '削除しました。',
    automaticOn: 'これから、このチャンネルに投稿されるすべての画像を説明します。',
    automaticOff: 'このチャンネルの画像を自動で説明するのをやめました。',
    optedOut: '今後、あなたの画像は説明しません。',
    optedIn: 'あなたの画像をまた説明します。',
  },
}
