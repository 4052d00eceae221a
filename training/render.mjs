// Emoji art -> one file of sprites.
//
// In:  nouns.json (which icons show which noun) and the art packages of package.json.
// Out: DIR/sprites.bin, uint8 [N, 256, 256, 4], premultiplied RGBA, trimmed, centred, 4 px margin;
//      DIR/sprites.json, N rows {set, noun, icon}; a noun of null is an unknown icon: any other emoji,
//      which the model must not claim to know.
//
//   npm install && node render.mjs .work/art     (about a minute)

import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import sharp from 'sharp'

const SIDE = 256
const MARGIN = 4
const UNKNOWN_ICONS = 900
/** Sets that draw an unknown icon: 900 icons of all sets would be twice as many sprites as all nouns have. */
const SETS_OF_UNKNOWN = 4
const FLAGS = 9 // emojibase's group: missing in some sets, and not things
const EXCLUDED_NAMES =
  /cat|monkey|heart|skull|ghost|alien|robot|circle|square|star|sun|diamond|triangle|cross|face-with-(medical|head)|anchor|ring|bell|button|fire|snow|book|lock|key|love|santa|kiss|poodle|wolf|leopard|dragon|buffalo|ship|boat|ferry|canoe|bus|truck|lorry|vehicle|taxi|ambulance|monorail|motorcycle|scooter|biking|flower|hibiscus|blossom|bouquet|seedling|cake|house|hotel|hospital|church|building|thirty|watch|fish|dolphin|chicken|rooster|duck|dove|eagle|football|baseball|tennis|bowling|goal|^pen$|fountain-pen|paintbrush|ledger|newspaper|notepad|clothes|kimono|uniform|glasses|helmet|graduation|shoe|bikini|comet|milky|tent|globe|milk|plus|multiply|divide|check|sake|saxophone|cityscape|volcano|mosque|synagogue|bacon|burrito|stuffed|baguette/

// Words of icons' names that do not describe the thing.
const COMMON_WORDS = new Set([
  'with',
  'and',
  'of',
  'face',
  'red',
  'green',
  'blue',
  'small',
  'large',
  'first',
  'last',
  'quarter',
])

const directory = process.argv[2]
if (!directory) throw new Error('Expected an output directory: node render.mjs .work/art')
mkdirSync(directory, { recursive: true })

const require = createRequire(import.meta.url)
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))
const packageRoot = (name) => dirname(require.resolve(`${name}/package.json`))

const { categories } = readJson(new URL('nouns.json', import.meta.url))
const nouns = Object.assign({}, ...Object.values(categories))

const SETS = [
  'noto',
  'noto-v1',
  'fluent-emoji-flat',
  'fluent-emoji',
  'fxemoji',
  'streamline-emojis',
  'emojione',
  'twemoji',
  'openmoji',
]
const ALL_SETS = [...SETS, 'fluent-emoji-3d']
/** Emoji drawn as icons, in one colour. */
const EMOJI_ICONS = 'fluent-emoji-high-contrast'
const UNKNOWN_STEP = 3 // every third unknown icon is drawn by EMOJI_ICONS too
/** Icons of user interfaces, named after the thing that they show, with the nouns under which they show another thing. */
const ICON_SETS = {
  'icon-park': ['mouse', 'phone', 'anchor', 'ring', 'heart', 'trumpet'],
  'fa7-solid': ['mouse', 'phone'],
  mdi: ['mouse', 'phone'],
  ph: ['mouse', 'phone'],
}
const sets = Object.fromEntries(
  [...SETS, EMOJI_ICONS, ...Object.keys(ICON_SETS)].map((set) => [
    set,
    readJson(join(packageRoot(`@iconify-json/${set}`), 'icons.json')),
  ]),
)
const codePoints = Object.fromEntries(
  Object.entries(readJson(join(packageRoot('@iconify-json/noto'), 'chars.json'))).map(([hex, name]) => [
    name,
    hex,
  ]),
)

const rows = []
for (const [noun, icons] of Object.entries(nouns)) for (const icon of icons) rows.push({ noun, icon })
for (const icon of unknownIcons()) rows.push({ noun: null, icon })

for (const { noun, icon } of rows.filter(({ noun }, i) => noun || i % UNKNOWN_STEP === 0)) {
  if (vector(EMOJI_ICONS, icon)) rows.push({ noun, icon, set: EMOJI_ICONS })
}
for (const [set, exceptions] of Object.entries(ICON_SETS)) {
  for (const noun of Object.keys(nouns)) {
    const name = noun.replaceAll(' ', '-')
    const icon = [`${name}-fill`, name].find((icon) => vector(set, icon))
    if (icon && !exceptions.includes(noun)) rows.push({ noun, icon, set })
  }
}

const out = createWriteStream(join(directory, 'sprites.bin'))
const index = []
for (const { noun, icon, set: only } of rows) {
  for (const set of only ? [only] : noun ? ALL_SETS : someSets(icon)) {
    const source = set === 'fluent-emoji-3d' ? fluent3d(icon) : vector(set, icon)
    if (!source) continue
    const pixels = await sprite(source)
    if (!out.write(pixels)) await new Promise((resolve) => out.once('drain', resolve))
    index.push({ set, noun, icon })
  }
}
await new Promise((resolve) => out.end(resolve))
writeFileSync(
  join(directory, 'sprites.json'),
  `[\n${index.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`,
)
console.log(`${index.length} sprites of ${rows.length} icons`)

/** Returns the sets that draw this unknown icon; which ones follows from its name. */
function someSets(icon) {
  const start = [...icon].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 1009, 7)
  return Array.from({ length: SETS_OF_UNKNOWN }, (_, i) => ALL_SETS[(start + 3 * i) % ALL_SETS.length])
}

/** Returns names of emoji of all kinds that every main set has; none is similar to a known noun. */
function unknownIcons() {
  const known = new Set(Object.values(nouns).flat())
  const words = new Set([...known, ...Object.keys(nouns)].flatMap((name) => name.split(/[- ]/)))
  const sharesWord = (name) => name.split('-').some((word) => words.has(word) && !COMMON_WORDS.has(word))
  const groups = new Map(
    readJson(require.resolve('emojibase-data/en/data.json')).map((row) => [
      row.hexcode.toLowerCase(),
      row.group,
    ]),
  )
  const names = Object.entries(codePoints)
    .filter(([, hex]) => (groups.get(hex) ?? groups.get(`${hex}-fe0f`) ?? FLAGS) !== FLAGS)
    .map(([name]) => name)
    .filter((name) => !known.has(name) && !EXCLUDED_NAMES.test(name) && !sharesWord(name))
    .filter((name) => ['noto', 'fluent-emoji', 'emojione', 'twemoji'].every((set) => vector(set, name)))
  const step = Math.max(1, names.length / UNKNOWN_ICONS)
  return Array.from({ length: Math.min(UNKNOWN_ICONS, names.length) }, (_, i) => names[Math.floor(i * step)])
}

/** SVG source of an icon, or undefined when the set lacks it. */
function vector(set, icon) {
  const { icons, aliases = {}, width = 16, height = 16, left = 0, top = 0 } = sets[set]
  const found = icons[icon] ?? icons[aliases[icon]?.parent]
  if (!found) return undefined
  const box = [found.left ?? left, found.top ?? top, found.width ?? width, found.height ?? height]
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="384" height="384" viewBox="${box.join(' ')}">${found.body}</svg>`,
  )
}

/** Path of the 3D drawing of an icon, or undefined. */
function fluent3d(icon) {
  const hex = codePoints[icon]
  const assets = join(packageRoot('@lobehub/fluent-emoji-3d'), 'assets')
  return [hex, `${hex}-fe0f`].map((name) => join(assets, `${name}.webp`)).find((path) => existsSync(path))
}

/** Trimmed, fitted and premultiplied pixels. */
async function sprite(source) {
  const inner = SIDE - 2 * MARGIN
  const clear = { r: 0, g: 0, b: 0, alpha: 0 }
  const trimmed = await sharp(source).ensureAlpha().trim({ background: clear, threshold: 8 }).png().toBuffer()
  const pixels = await sharp(trimmed)
    .resize(inner, inner, { fit: 'contain', background: clear })
    .extend({ top: MARGIN, bottom: MARGIN, left: MARGIN, right: MARGIN, background: clear })
    .ensureAlpha()
    .raw()
    .toBuffer()
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3] / 255
    for (let c = 0; c < 3; c++) pixels[i + c] = Math.round(pixels[i + c] * alpha)
  }
  return pixels
}
