// vision -> queries: the picture as a few vectors, and those as the language model's prefix.
// They do not depend on the question, so one picture needs them once.

import { QUERIES } from '../artifact/contract.ts'
import type { FloatTensor, Session } from './session.ts'
import type { Vision } from './vision.ts'

export interface Queries {
  stage: 'queries'
  /** [B, Q, Dq]: the Q-Former's output. */
  queries: FloatTensor
  /** [B, Q, D]: the same, projected to the language model's width. */
  prefix: FloatTensor
}

/** vision [B, P, Dv] -> queries [B, Q, Dq] and prefix [B, Q, D] */
export async function runQueries(session: Session, vision: Vision): Promise<Queries> {
  const outputs = await session.run({ [QUERIES.vision]: vision }, [QUERIES.queries, QUERIES.prefix])
  return { stage: 'queries', queries: outputs[QUERIES.queries]!, prefix: outputs[QUERIES.prefix]! }
}
