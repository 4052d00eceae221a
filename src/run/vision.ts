// pixels [B, 3, H, W] -> vision [B, P, Dv] with the graph `vision`: one vector for each patch and one for the class token.

import { VISION } from '../artifact/contract.ts'
import type { Pixels } from '../image/pixels.ts'
import type { Session } from './session.ts'

export interface Vision {
  stage: 'vision'
  data: Float32Array
  /** [B, P, Dv] */
  dims: readonly number[]
}

export async function runVision(session: Session, pixels: Pixels): Promise<Vision> {
  const outputs = await session.run({ [VISION.pixels]: pixels }, [VISION.vision])
  return { stage: 'vision', ...outputs[VISION.vision]! }
}
