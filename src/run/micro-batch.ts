// How much goes through a graph in one run, where there is more to do than one picture or row.
//
// Small models spend their time between operators, so that four pictures at once take little longer than one. Large
// ones spend it in products, which gain nothing from company: of them one run takes as long as their work does, and
// between runs it is heard that an asker has left. Memory for what passes through stays small either way.

import type { Manifest } from '../artifact/contract.ts'
import type { Provider } from './session.ts'

/** Numbers between two layers: one picture of a ViT-g, two rows of opt-2.7b with short prompts. */
const VALUES_PER_RUN = 262_144
/** On a GPU products gain from company for longer. */
const GPU_FACTOR = 8
/** Embedded model, two cores: 9.6 ms a picture alone, 5.8 of two together, 3.5 of four. */
const MAX_ITEMS_PER_RUN = 8

interface Sized {
  manifest: Manifest
  provider?: Provider
}

/** Pictures in one run of the vision graph. */
export function imagesPerRun({ manifest, provider }: Sized): number {
  // The scale of its activations is that of the whole run: a picture's vector would depend on who it came with.
  if (manifest.recipe.some(({ format }) => format.kind === 'columns')) return 1
  const { patches, vision_width } = manifest.sizes
  return itemsPerRun(patches * vision_width, provider)
}

/** Rows whose pictures and prompts the language graph reads in one run. */
export function rowsPerRun({ manifest, provider }: Sized, promptTokens: number): number {
  const { queries, width } = manifest.sizes
  return itemsPerRun((queries + promptTokens) * width, provider)
}

function itemsPerRun(values: number, provider: Provider = 'cpu'): number {
  const most = provider === 'cpu' ? VALUES_PER_RUN : GPU_FACTOR * VALUES_PER_RUN
  return Math.max(1, Math.min(MAX_ITEMS_PER_RUN, Math.floor(most / values)))
}
