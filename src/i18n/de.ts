// German.

import type { Messages } from './messages.ts'

export const de: Messages = {
  locale: 'de',
  problem: {
    no_picture: 'Ich finde kein Bild. Poste eins mit deiner Frage oder frag im Thread eines Bildes.',
    not_a_picture:
      'Diese Datei ist kein Bild, das ich lesen kann. Ich lese JPEG, PNG, WebP, GIF, AVIF und TIFF.',
    damaged_picture: 'Dieses Bild ist beschädigt oder unvollständig. Bitte poste es noch einmal.',
    picture_too_large: (limit) => `Dieses Bild ist zu groß. Bitte poste eins mit höchstens ${limit} MB.`,
    too_many_pixels: (millions) =>
      `Dieses Bild hat zu viele Pixel. Bitte poste eins mit höchstens ${millions} Megapixeln.`,
    picture_gone: 'Dieses Bild gibt es nicht mehr. Bitte poste es noch einmal.',
    picture_forbidden: 'Ich darf dieses Bild nicht öffnen. Lade mich in seinen Kanal ein oder poste es hier.',
    picture_unreachable: 'Ich konnte das Bild gerade nicht laden. Bitte versuch es noch einmal.',
    question_too_long: 'Diese Frage ist zu lang für mich. Bitte frag mit weniger Wörtern.',
    busy: (ahead) =>
      `Hier ist gerade viel los: ${ahead} ${ahead === 1 ? 'Anfrage ist' : 'Anfragen sind'} vor dir dran. ` +
      'Bitte versuch es in einer Minute noch einmal.',
    restarting: 'Ich starte gerade neu. Bitte versuch es in einer Minute noch einmal.',
    deadline: 'Das hat zu lange gedauert. Bitte versuch es in einer Minute noch einmal.',
    unseen:
      'Was dort gezeigt wird, kann ich nicht sehen, etwa die Vorschau eines Links. Poste das Bild selbst.',
    opted_out: 'Die Person, die dieses Bild gepostet hat, möchte nicht, dass ich ihre Bilder beschreibe.',
    limit: (when) => `Du hast dein Limit erreicht. Du kannst ${when} wieder fragen.`,
    not_allowed: 'Du darfst das hier nicht ändern.',
    not_yours: 'Das kann nur, wer gefragt hat, oder jemand aus der Moderation.',
    needs_intent:
      'Ohne den Message Content Intent sehe ich solche Bilder nicht. Wer mich betreibt, muss ihn erst einschalten.',
    not_here: 'Ich bin nicht in diesem Kanal. Lade mich erst ein: /invite @Glimpse',
    cannot_reply: 'In dem Kanal darf ich nicht antworten, deshalb antworte ich hier.',
    blocked: 'Die automatische Moderation dieses Servers (AutoMod) hat meine Antwort blockiert.',
    internal: 'Bei mir ist etwas schiefgegangen. Bitte versuch es noch einmal.',
  },
  looking: 'sieht sich das Bild an…',
  waiting: (ahead) => `hat vor dir noch ${ahead} ${ahead === 1 ? 'Anfrage' : 'Anfragen'} zu beantworten…`,
  nothing: 'Zu diesem Bild fällt mir nichts ein.',
  about: (names) => `Zu ${names}.`,
  picture: (number) => `Bild ${number}`,
  unknownPicture: 'Was auf diesem Bild ist, weiß ich nicht.',
  unsure: 'Da bin ich mir nicht sicher.',
  small: {
    thanks: 'Gern geschehen!',
    greeting:
      'Hallo! Zeig mir ein Bild, dann beschreibe ich es, oder frag mich nach einem. Mit „Hilfe“ erfährst du mehr.',
    who: 'Ich bin Glimpse, ein Bot, der Bilder beschreibt und Fragen dazu beantwortet. Ich bin eine Maschine und kann mich irren.',
    reaction: '👍',
    denial: 'Ich kann mich irren. Frag mich nach einer Sache in dem Bild, dann sehe ich noch einmal hin.',
  },
  firstDirect:
    'Du kannst mich hier nach diesem Bild fragen oder mir ein anderes schicken. Mit „Hilfe“ erfährst du mehr.',
  machineMade: 'Von einer Maschine beschrieben; das kann falsch sein.',
  englishOnly: 'Die Beschreibungen sind auf Englisch.',
  leftOut: (count) =>
    `${count} ${count === 1 ? 'weiteres Bild wurde' : 'weitere Bilder wurden'} ausgelassen.`,
  altText: 'Alternativtext zum Kopieren:',
  authorsAltText: (text) => `Alternativtext der Person, die es gepostet hat: „${text}“`,
  button: { ask: 'Nachfragen', again: 'Noch einmal', delete: 'Löschen' },
  command: {
    caption: 'Beschreibt ein Bild oder beantwortet eine Frage dazu',
    captionImage: 'Das Bild',
    captionQuestion: 'Was du wissen möchtest; ohne Frage gibt es eine Beschreibung',
    ask: 'Beantwortet eine Frage zu deinem letzten Bild hier',
    askQuestion: 'Was du wissen möchtest',
    askImage: 'Ein anderes Bild',
    settings: 'Legt fest, ob jedes Bild in diesem Kanal beschrieben wird',
    settingsAutomatic: 'Jedes Bild beschreiben, das hier gepostet wird',
    privacy: 'Legt fest, ob deine Bilder beschrieben werden dürfen',
    privacyOptOut: 'Meine Bilder nicht beschreiben',
  },
  modal: {
    title: 'Bild beschreiben',
    submit: 'Beschreiben',
    cancel: 'Abbrechen',
    picture: 'Bild',
    question: 'Frage',
    questionHint: 'Leer lassen für eine Beschreibung.',
    submitQuestion: 'Fragen',
    askTitle: 'Frage zum Bild',
    settingsTitle: 'Glimpse in diesem Kanal',
    save: 'Speichern',
    automaticHint: 'Aus, bis es jemand einschaltet. Der Kanal erfährt davon.',
  },
  home: {
    title: 'Glimpse sagt dir, was auf einem Bild zu sehen ist',
    sees: 'Was Glimpse erkennt',
    howTitle: 'So geht’s',
    how: [
      'Erwähne mich mit einem Bild oder in seinem Thread. Stell eine Frage dazu, sonst beschreibe ich es.',
      'Frag im Thread weiter, ohne das Bild noch einmal zu posten.',
      'Wähle „Describe this image“ im Menü einer Nachricht: Die Antwort siehst nur du.',
      'Schick mir ein Bild als Direktnachricht oder nutze /caption.',
    ],
    privacyTitle: 'Deine Bilder',
    privacy: (hours) =>
      'Bilder werden nicht aufbewahrt. Was ich für einen Thread brauche, vergesse ich ' +
      `nach ${hours} ${hours === 1 ? 'Stunde' : 'Stunden'}.`,
    optIn: 'Meine Bilder wieder beschreiben',
    optedOut: 'Deine Bilder werden nicht beschrieben, egal wer fragt.',
  },
  done: {
    deleted: 'Gelöscht.',
    automaticOn: 'Ab jetzt beschreibe ich jedes Bild, das in diesem Kanal gepostet wird.',
    automaticOff: 'Ich beschreibe Bilder in diesem Kanal nicht mehr von selbst.',
    optedOut: 'Ich beschreibe deine Bilder nicht mehr.',
    optedIn: 'Ich beschreibe deine Bilder wieder.',
  },
}
