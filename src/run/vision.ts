// pixels [B, 3, H, W] -> vision [B, P, Dv] with the graph `vision`: one vector for each patch and one for the class token.

import { VISION } from '../artifact/contract.ts'
import type { Session } from './session.ts'
import type { Tensor } from './tensor.ts'

export async function runVision(session: Session, pixels: Tensor): Promise<Tensor> {
  const outputs = await session.run({ [VISION.pixels]: pixels }, [VISION.vision])
  return outputs[VISION.vision]!
}
