// French.

import type { Messages } from './messages.ts'

export const fr: Messages = {
  locale: 'fr',
  problem: {
    no_picture:
      'Je ne trouve pas d’image. Publiez-en une avec votre question, ou demandez dans le fil d’une image.',
    not_a_picture:
      'Ce fichier n’est pas une image que je sais lire. Je lis JPEG, PNG, WebP, GIF, AVIF et TIFF.',
    damaged_picture: 'Cette image est abîmée ou incomplète. Merci de la publier à nouveau.',
    picture_too_large: (limit) =>
      `Cette image est trop lourde. Publiez-en une de ${limit}\u00a0Mo au maximum.`,
    too_many_pixels: (millions) =>
      `Cette image a trop de pixels. Publiez-en une de ${millions}\u00a0mégapixels au maximum.`,
    picture_gone: 'Cette image n’est plus là. Merci de la publier à nouveau.',
    picture_forbidden:
      'Je n’ai pas le droit d’ouvrir cette image. Invitez-moi dans son canal, ou publiez-la ici.',
    picture_unreachable: 'Je n’ai pas pu récupérer cette image à l’instant. Veuillez réessayer.',
    question_too_long: 'Cette question est trop longue pour moi. Merci de la raccourcir.',
    busy: (ahead) =>
      `J’ai beaucoup à faire. ${ahead} ${ahead > 1 ? 'demandes passent' : 'demande passe'} avant la vôtre. ` +
      'Réessayez dans une minute.',
    restarting: 'Je suis en train de redémarrer. Réessayez dans une minute.',
    deadline: 'Cela a pris trop de temps. Réessayez dans une minute.',
    unseen: 'Je ne peux pas voir ce qui est montré là, comme l’aperçu d’un lien. Publie l’image elle-même.',
    opted_out: 'La personne qui a publié cette image m’a demandé de ne pas décrire ses images.',
    limit: (when) => `Vous avez atteint votre limite. Vous pourrez reposer une question ${when}.`,
    not_allowed: 'Vous n’avez pas le droit de modifier cela ici.',
    not_yours: 'Seule la personne qui a demandé peut faire cela, ou la modération.',
    needs_intent:
      'Sans l’intent Message Content, je ne vois pas ces images. La personne qui m’administre doit d’abord l’activer.',
    not_here: 'Je ne suis pas dans ce canal. Invitez-moi d’abord : /invite @Glimpse',
    cannot_reply: 'Je n’ai pas le droit de répondre dans ce canal, alors je réponds ici.',
    blocked: 'La modération automatique de ce serveur (AutoMod) a bloqué ma réponse.',
    internal: 'Quelque chose s’est mal passé de mon côté. Merci de réessayer.',
  },
  looking: 'regarde l’image…',
  waiting: (ahead) => `a encore ${ahead} ${ahead > 1 ? 'demandes' : 'demande'} à traiter avant la vôtre…`,
  nothing: 'Je n’ai rien à dire sur cette image.',
  about: (names) => `À propos de : ${names}.`,
  picture: (number) => `image ${number}`,
  unknownPicture: 'Je ne sais pas ce qu’il y a sur cette image.',
  unsure: 'Je ne suis pas sûr.',
  small: {
    thanks: 'Avec plaisir !',
    greeting:
      'Bonjour ! Montre-moi une image et je la décris, ou pose-moi une question sur une image. « aide » t’en dit plus.',
    who: 'Je suis Glimpse, un bot qui décrit des images et répond aux questions sur elles. Je suis une machine et je peux me tromper.',
    reaction: '👍',
    denial:
      'Je peux me tromper. Posez-moi une question précise sur l’image, et je la regarde encore une fois.',
  },
  firstDirect:
    'Tu peux me poser ici des questions sur cette image ou m’en envoyer une autre. « aide » t’en dit plus.',
  machineMade: 'Description faite par une machine, qui peut se tromper.',
  englishOnly: 'Les descriptions sont en anglais.',
  leftOut: (count) =>
    `${count} ${count > 1 ? 'autres images ont été laissées' : 'autre image a été laissée'} de côté.`,
  altText: 'Texte alternatif, prêt à copier\u00a0:',
  authorsAltText: (text) => `Texte alternatif de l’auteur : « ${text} »`,
  button: { ask: 'Demander', again: 'Encore', delete: 'Supprimer' },
  command: {
    caption: 'Décrit une image ou répond à une question à son sujet',
    captionImage: 'L’image',
    captionQuestion: 'Ce que vous voulez savoir, ou rien pour une description',
    ask: 'Répond à une question sur votre dernière image ici',
    askQuestion: 'Ce que vous voulez savoir',
    askImage: 'Une autre image',
    settings: 'Choisit si toutes les images de ce canal sont décrites',
    settingsAutomatic: 'Décrire toutes les images publiées ici',
    privacy: 'Choisit si vos images peuvent être décrites',
    privacyOptOut: 'Ne pas décrire mes images',
  },
  modal: {
    title: 'Décrire une image',
    submit: 'Décrire',
    cancel: 'Annuler',
    picture: 'Image',
    question: 'Question',
    questionHint: 'Laissez vide pour une description.',
    submitQuestion: 'Demander',
    askTitle: 'Question sur l’image',
    settingsTitle: 'Glimpse dans ce canal',
    save: 'Enregistrer',
    automaticHint: 'Désactivé tant que personne ne l’active. Le canal en est averti.',
  },
  home: {
    title: 'Glimpse vous dit ce qu’il y a dans une image',
    sees: 'Ce qu’il peut voir',
    howTitle: 'Comment l’utiliser',
    how: [
      'Mentionnez-moi avec une image ou dans son fil. Ajoutez une question, ou rien pour une description.',
      'Continuez à poser des questions dans le fil, sans publier à nouveau l’image.',
      'Avec «\u00a0Describe this image\u00a0», dans le menu d’un message, la réponse n’apparaît qu’à vous.',
      'Envoyez-moi une image en message direct, ou utilisez /caption.',
    ],
    privacyTitle: 'Vos images',
    privacy: (hours) =>
      'Les images ne sont pas conservées. Ce qu’il me faut pour continuer dans un fil est oublié ' +
      `au bout de ${hours} ${hours > 1 ? 'heures' : 'heure'}.`,
    optIn: 'Décrire à nouveau mes images',
    optedOut: 'Vos images ne sont pas décrites, peu importe qui le demande.',
  },
  done: {
    deleted: 'Supprimé.',
    automaticOn: 'Désormais, je décris toutes les images publiées dans ce canal.',
    automaticOff: 'Je ne décris plus les images de ce canal de moi-même.',
    optedOut: 'Je ne décrirai plus vos images.',
    optedIn: 'Je décrirai à nouveau vos images.',
  },
}
