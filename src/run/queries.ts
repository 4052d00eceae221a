// vision [B, P, Dv] -> queries [B, Q, Dq] and prefix [B, Q, D], with the graph `queries`.
// Neither depends on the question, so they are computed once for each image and cached.

import { QUERIES } from '../artifact/contract.ts'
import type { FloatTensor, Session } from './session.ts'
import type { Vision } from './vision.ts'

export interface Queries {
  stage: 'queries'
  /** [B, Q, Dq], the Q-Former's output. */
  queries: FloatTensor
  /** [B, Q, D], image embeddings: the output projected to the language model's width. */
  prefix: FloatTensor
}

export async function runQueries(session: Session, vision: Vision): Promise<Queries> {
  const outputs = await session.run({ [QUERIES.vision]: vision }, [QUERIES.queries, QUERIES.prefix])
  return { stage: 'queries', queries: outputs[QUERIES.queries]!, prefix: outputs[QUERIES.prefix]! }
}
