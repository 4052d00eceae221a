// Scores a matching model on packs of matching_pack.py, by the graphs that onnxruntime-node runs.
//
// In:  an artifact (`glimpse build models/pico --with models/pico-itm --out ARTIFACT`), packs.
// Out: for each pack one table: search among 100 and all pictures (a caption finds its picture, or another that it is true
//      of), the same re-ranked, and for each kind of changed word how often a caption is judged right: true captions at
//      least 0.5, changed ones below. Beside it, the score of language alone (matching_pack.py).
//
//   npm run build && node training/score-matching.mjs ARTIFACT PACK...

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startEngine } from '../dist/index.js'

const CANDIDATES = 10
const SUBSET = 100
/** As many as one request may have. */
const TEXTS = 128

const [artifact, ...packs] = process.argv.slice(2)
const engine = await startEngine({ artifact })
try {
  for (const pack of packs) print(pack, await score(pack))
} finally {
  await engine.close()
}

async function score(pack) {
  const rows = (await readFile(join(pack, 'matching.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const images = await Promise.all(rows.map(({ file }) => readFile(join(pack, file))))
  const embeds = []
  const texts = []
  for (const [i, { caption }] of rows.entries()) {
    const kinds = ['image_embeds_proj', 'text_embeds_proj']
    const { features } = await engine.answer({ task: 'features', image: images[i], text: caption, kinds })
    const [, width] = features.text_embeds_proj.shape
    embeds.push(features.image_embeds_proj.data)
    texts.push(features.text_embeds_proj.data.slice(0, width))
  }
  const similarity = texts.map((text) => embeds.map((image) => greatestCosine(image, text)))
  const isTrue = (text, image) => image === text || rows[text].alsoTrueOf.includes(image)

  // Candidates of every text, judged picture by picture, together with the picture's own caption and its changed ones.
  const candidates = similarity.map((row) => best(row, CANDIDATES))
  const asked = rows.map(({ caption, changed }) => new Set([caption, ...changed.map(({ text }) => text)]))
  for (const [text, pictures] of candidates.entries())
    for (const i of pictures) asked[i].add(rows[text].caption)
  const judged = []
  for (const [i, set] of asked.entries()) {
    judged.push(new Map())
    const list = [...set]
    for (let at = 0; at < list.length; at += TEXTS) {
      const { matches } = await engine.answer({
        task: 'match',
        image: images[i],
        texts: list.slice(at, at + TEXTS),
      })
      for (const match of matches) judged[i].set(match.text, match)
    }
  }

  const found = (choose) => share(rows.map((_, text) => isTrue(text, choose(text))))
  const hundreds = Array.from({ length: Math.floor(rows.length / SUBSET) }, (_, i) => i * SUBSET)
  const inHundred = hundreds.flatMap((start) =>
    rows.slice(start, start + SUBSET).map((_, i) => {
      const [first] = best(similarity[start + i].slice(start, start + SUBSET), 1)
      return isTrue(start + i, start + first)
    }),
  )
  const rerankedBy = (value) => (text) =>
    candidates[text].reduce((a, b) =>
      value(judged[b].get(rows[text].caption)) > value(judged[a].get(rows[text].caption)) ? b : a,
    )
  const described = share(
    rows.map((_, image) =>
      isTrue(
        best(
          similarity.map((row) => row[image]),
          1,
        )[0],
        image,
      ),
    ),
  )

  const kinds = {}
  for (const [i, { caption, changed, alone }] of rows.entries()) {
    const own = judged[i].get(caption)
    for (const { kind, text, alone: aloneChanged } of changed) {
      const other = judged[i].get(text)
      kinds[kind] ??= { accuracy: [], pairs: [], alone: [] }
      kinds[kind].accuracy.push(own.probability >= 0.5, other.probability < 0.5)
      kinds[kind].pairs.push(logit(own) > logit(other))
      kinds[kind].alone.push(alone >= 0.5, aloneChanged < 0.5)
    }
  }
  return {
    [`search among ${SUBSET}`]: share(inHundred),
    [`search among ${rows.length}`]: found((text) => candidates[text][0]),
    [`of ${rows.length}, first ten`]: share(
      similarity.map((row, text) => best(row, 10).some((image) => isTrue(text, image))),
    ),
    [`of ${rows.length}, re-ranked by probability`]: found(rerankedBy((match) => logit(match))),
    [`of ${rows.length}, re-ranked as LAVIS does`]: found(
      rerankedBy((match) => match.logits[1] + match.contrastive),
    ),
    [`captions among ${rows.length}`]: described,
    kinds: { ...kinds, all: merged(Object.values(kinds)) },
  }
}

function greatestCosine(image, text) {
  let most = -1
  for (let at = 0; at < image.length; at += text.length) {
    let product = 0
    for (let i = 0; i < text.length; i++) product += image[at + i] * text[i]
    most = Math.max(most, product)
  }
  return most
}

/** Numbers of the `count` greatest values, greatest first. */
function best(values, count) {
  return values
    .map((_, i) => i)
    .sort((a, b) => values[b] - values[a])
    .slice(0, count)
}

function logit({ logits: [no, yes] }) {
  return yes - no
}

function merged(kinds) {
  return Object.fromEntries(
    ['accuracy', 'pairs', 'alone'].map((name) => [name, kinds.flatMap((kind) => kind[name])]),
  )
}

function share(booleans) {
  return booleans.filter(Boolean).length / booleans.length
}

function print(pack, { kinds, ...scores }) {
  const percent = (value) => `${(100 * value).toFixed(1).padStart(5)}%`
  console.log(pack)
  for (const [name, value] of Object.entries(scores)) console.log(`  ${name.padEnd(34)} ${percent(value)}`)
  for (const [kind, { accuracy, pairs, alone }] of Object.entries(kinds)) {
    const rest = `${percent(share(accuracy))} right, ${percent(share(pairs))} of ${pairs.length} pairs in order, language alone ${percent(share(alone))}`
    console.log(`  changed ${kind.padEnd(26)} ${rest}`)
  }
}
