// Manifest and execution provider -> how many images or rows go through a graph in one run.
//
// Small models are dominated by per-operator overhead: four images in one run cost little more than one. Large models
// are dominated by matrix products, which gain nothing from batching on a CPU; with several shorter runs cancellation is
// checked in between. Activation memory stays bounded either way.

import type { Manifest } from '../artifact/contract.ts'
import type { Provider } from './session.ts'

/** Values between two layers: one image of a ViT-g, or two rows of opt-2.7b with short prompts. */
const VALUES_PER_RUN = 262_144
/** On a GPU, products gain from batches this many times larger. */
const GPU_FACTOR = 8
/** Embedded model, two cores: 9.6 ms for one image alone, 5.8 ms an image for two in one run, 3.5 ms for four. */
const MAX_ITEMS_PER_RUN = 8

interface Sized {
  manifest: Manifest
  /** Default: cpu. */
  provider?: Provider
}

/** Images in one run of the vision graph. */
export function imagesPerRun({ manifest, provider }: Sized): number {
  // DynamicQuantizeMatMul uses one activation scale for a run: an image's result would depend on the other images.
  if (manifest.recipe.some(({ format }) => format.kind === 'columns')) return 1
  const { patches, vision_width } = manifest.sizes
  return itemsPerRun(patches * vision_width, provider)
}

/** Rows in one prefill run of the language graph, with prompts of up to `promptTokens` ids. */
export function rowsPerRun({ manifest, provider }: Sized, promptTokens: number): number {
  const { queries, width } = manifest.sizes
  return itemsPerRun((queries + promptTokens) * width, provider)
}

function itemsPerRun(values: number, provider: Provider = 'cpu'): number {
  const budget = provider === 'cpu' ? VALUES_PER_RUN : GPU_FACTOR * VALUES_PER_RUN
  return Math.max(1, Math.min(MAX_ITEMS_PER_RUN, Math.floor(budget / values)))
}
