// Spanish.

import type { Messages } from './messages.ts'

export const es: Messages = {
  locale: 'es',
  problem: {
    no_picture:
      'No encuentro ninguna imagen. Publica una con tu pregunta o pregunta en el hilo de una imagen.',
    not_a_picture: 'Ese archivo no es una imagen que pueda leer. Leo JPEG, PNG, WebP, GIF, AVIF y TIFF.',
    damaged_picture: 'Esa imagen está dañada o incompleta. Publícala de nuevo, por favor.',
    picture_too_large: (limit) => `Esa imagen es demasiado grande. Publica una de ${limit} MB como máximo.`,
    too_many_pixels: (millions) =>
      `Esa imagen tiene demasiados píxeles. Publica una de ${millions} megapíxeles como máximo.`,
    picture_gone: 'Esa imagen ya no está. Publícala de nuevo, por favor.',
    picture_forbidden: 'No tengo permiso para abrir esa imagen. Invítame a su canal o publícala aquí.',
    picture_unreachable: 'No he podido descargar esa imagen ahora mismo. Inténtalo de nuevo.',
    question_too_long: 'Esa pregunta es demasiado larga para mí. Pregunta con menos palabras, por favor.',
    busy: (ahead) =>
      `Tengo mucho trabajo: hay ${ahead} ${ahead === 1 ? 'petición' : 'peticiones'} antes que la tuya. ` +
      'Inténtalo de nuevo en un minuto.',
    restarting: 'Me estoy reiniciando. Inténtalo de nuevo en un minuto.',
    deadline: 'He tardado demasiado. Inténtalo de nuevo en un minuto.',
    unseen: 'No puedo ver lo que se muestra ahí, como la vista previa de un enlace. Publica la imagen misma.',
    opted_out: 'Quien publicó esa imagen me pidió que no describiera sus imágenes.',
    limit: (when) => `Has llegado a tu límite. Podrás volver a preguntar ${when}.`,
    not_allowed: 'No tienes permiso para cambiar eso aquí.',
    not_yours: 'Eso solo puede hacerlo quien preguntó o alguien que modere.',
    needs_intent:
      'Sin el intent Message Content no veo esas imágenes. Quien me administra debe activarlo antes.',
    not_here: 'No estoy en este canal. Invítame primero: /invite @Glimpse',
    cannot_reply: 'No tengo permiso para responder en ese canal, así que respondo aquí.',
    blocked: 'La moderación automática de este servidor (AutoMod) bloqueó mi respuesta.',
    internal: 'Algo ha fallado por mi parte. Inténtalo de nuevo, por favor.',
  },
  looking: 'está mirando la imagen…',
  waiting: (ahead) => `tiene ${ahead} ${ahead === 1 ? 'petición' : 'peticiones'} antes que la tuya…`,
  nothing: 'No tengo nada que decir sobre esta imagen.',
  about: (names) => `Sobre ${names}.`,
  picture: (number) => `la imagen ${number}`,
  unknownPicture: 'No sé qué hay en esta imagen.',
  unsure: 'No estoy seguro.',
  small: {
    thanks: '¡De nada!',
    greeting: '¡Hola! Enséñame una imagen y la describo, o pregúntame por una. Con «ayuda» te cuento más.',
    who: 'Soy Glimpse, un bot que describe imágenes y responde preguntas sobre ellas. Soy una máquina y puedo equivocarme.',
    reaction: '👍',
  },
  firstDirect: 'Puedes preguntarme aquí por esta imagen o enviarme otra. Con «ayuda» te cuento más.',
  machineMade: 'Descripción hecha por una máquina; puede contener errores.',
  englishOnly: 'Las descripciones están en inglés.',
  leftOut: (count) => `Se ${count === 1 ? 'omitió 1 imagen' : `omitieron ${count} imágenes`} más.`,
  altText: 'Texto alternativo, listo para copiar:',
  button: { ask: 'Preguntar', again: 'Otra vez', delete: 'Borrar' },
  command: {
    caption: 'Describe una imagen o responde a una pregunta sobre ella',
    captionImage: 'La imagen',
    captionQuestion: 'Lo que quieres saber; déjalo vacío para obtener una descripción',
    ask: 'Responde a una pregunta sobre tu última imagen aquí',
    askQuestion: 'Lo que quieres saber',
    askImage: 'Otra imagen',
    settings: 'Elige si se describen todas las imágenes de este canal',
    settingsAutomatic: 'Describir todas las imágenes que se publiquen aquí',
    privacy: 'Elige si se pueden describir tus imágenes',
    privacyOptOut: 'No describir mis imágenes',
  },
  modal: {
    title: 'Describir una imagen',
    submit: 'Describir',
    cancel: 'Cancelar',
    picture: 'Imagen',
    question: 'Pregunta',
    questionHint: 'Déjala vacía para obtener una descripción.',
    submitQuestion: 'Preguntar',
    askTitle: 'Pregunta por la imagen',
    settingsTitle: 'Glimpse en este canal',
    save: 'Guardar',
    automaticHint: 'Desactivado hasta que alguien lo active. Se avisa al canal.',
  },
  home: {
    title: 'Glimpse te dice qué hay en una imagen',
    sees: 'Lo que puede ver',
    howTitle: 'Cómo se usa',
    how: [
      'Mencióname con una imagen o en el hilo de una. Añade una pregunta, o nada para una descripción.',
      'Sigue preguntando en el hilo, sin volver a publicar la imagen.',
      'Elige «Describe this image» en el menú de un mensaje: solo tú verás la respuesta.',
      'Envíame una imagen por mensaje directo o usa /caption.',
    ],
    privacyTitle: 'Tus imágenes',
    privacy: (hours) =>
      'Las imágenes no se guardan. Lo que necesito para continuar en un hilo se olvida al cabo de ' +
      `${hours} ${hours === 1 ? 'hora' : 'horas'}.`,
    optIn: 'Volver a describir mis imágenes',
    optedOut: 'Tus imágenes no se describen, lo pida quien lo pida.',
  },
  done: {
    deleted: 'Borrado.',
    automaticOn: 'A partir de ahora describo todas las imágenes que se publiquen en este canal.',
    automaticOff: 'Ya no describo por mi cuenta las imágenes de este canal.',
    optedOut: 'Ya no describiré tus imágenes.',
    optedIn: 'Volveré a describir tus imágenes.',
  },
}
