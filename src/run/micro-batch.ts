// Size of an item and execution provider -> how many images or rows go through a graph in one run.
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

/** Items in one run of a graph, of so many values each between two layers. Default provider: cpu. */
export function itemsPerRun(values: number, provider: Provider = 'cpu'): number {
  const budget = provider === 'cpu' ? VALUES_PER_RUN : GPU_FACTOR * VALUES_PER_RUN
  return Math.max(1, Math.min(MAX_ITEMS_PER_RUN, Math.floor(budget / values)))
}

/** Pictures in one run of the graphs `vision`, `queries` and `matching`. */
export function imagesPerRun({ vision }: Manifest, provider?: Provider): number {
  return itemsPerRun(vision.patches * vision.width, provider)
}

/**
 * Reads prompts a few in one run, those of similar length together: padding costs as much as tokens. Returns the outputs in
 * the order of `rows`. `check` is called between runs.
 */
export async function inRuns<Row extends { ids: readonly number[] }, Output>(
  rows: readonly Row[],
  perRun: number,
  read: (rows: readonly Row[]) => Promise<Output[]>,
  check: () => void,
): Promise<Output[]> {
  const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length)
  const outputs: Output[] = []
  for (let at = 0; at < order.length; at += perRun) {
    if (at > 0) check()
    const indices = order.slice(at, at + perRun).sort((a, b) => a - b)
    const own = await read(indices.map((i) => rows[i]!))
    indices.forEach((i, row) => {
      outputs[i] = own[row]!
    })
  }
  return outputs
}
