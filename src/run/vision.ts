// pixels [B, 3, H, W] -> vision [B, P, Dv] with the graph `vision`: one vector for each patch and one for the class token.

import { type Manifest, VISION } from '../artifact/contract.ts'
import type { Outputs } from './queries.ts'
import type { Session } from './session.ts'
import type { Tensor } from './tensor.ts'

export async function runVision(session: Session, pixels: Tensor): Promise<Tensor> {
  const outputs = await session.run({ [VISION.pixels]: pixels }, [VISION.vision])
  return outputs[VISION.vision]!
}

/**
 * What later graphs read of the tower: `vision`, and `matching_vision` if the model matches. The two may be one tensor.
 */
export async function runTower(session: Session, pixels: Tensor, manifest: Manifest): Promise<Outputs> {
  const { outputs: described } = manifest.graphs.find(({ name }) => name === VISION.graph)!
  const hasBoth = described.some(({ name }) => name === VISION.matching)
  const names = hasBoth ? [VISION.vision, VISION.matching] : [VISION.vision]
  const outputs = await session.run({ [VISION.pixels]: pixels }, names)
  if (!manifest.matching || hasBoth) return outputs
  return { ...outputs, [VISION.matching]: outputs[VISION.vision]! }
}
