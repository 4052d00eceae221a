// POST /v1/rerank: a query and documents, one side texts and the other pictures -> the documents by how well they match, in
// the form of Jina's and Cohere's APIs.

import { z } from 'zod'
import type { Engine } from '../../engine/engine.ts'
import type { Match, MatchFields } from '../../engine/tasks/match.ts'
import { RequestError } from '../../errors.ts'
import type { ParsedRequest } from '../request.ts'
import { type Input, inOrder, inputSchema, inputsSchema, parsedOf, readBody } from './body.ts'

export const rerankBody = z.looseObject({
  model: z.string().optional(),
  query: inputSchema,
  documents: inputsSchema,
  top_n: z.number().int().positive().optional(),
  return_documents: z.boolean().default(false),
  rank_by: z.enum(['probability', 'contrastive']).default('probability'),
})

export async function readRerank(request: Request): Promise<ParsedRequest> {
  const { fields, inputOf, sha256 } = await readBody(request, rerankBody)
  const { top_n, return_documents, rank_by } = fields
  const query = inputOf(fields.query)
  const documents = fields.documents.map(inputOf)
  const isText = (input: Input) => 'text' in input
  if (documents.some((one) => isText(one) === isText(query))) {
    const message = `Expected documents that are all ${isText(query) ? 'pictures' : 'texts'}, because the model compares pictures with texts, but got others.`
    throw new RequestError('bad_field', message)
  }
  return parsedOf('match', sha256, async (engine, signal) => {
    const { model, scores } = await scoresOf(engine, query, documents, rank_by, signal)
    const results = scores
      .map((relevance_score, index) => {
        const document = documents[index]!
        return { index, relevance_score, ...(return_documents && 'text' in document && { document }) }
      })
      .sort((a, b) => b.relevance_score - a.relevance_score)
      .slice(0, top_n)
    return { model, body: { model, results } }
  })
}

/** The score of each document, in their order. */
async function scoresOf(
  engine: Engine,
  query: Input,
  documents: readonly Input[],
  rank_by: NonNullable<MatchFields['rank_by']>,
  signal: AbortSignal,
): Promise<{ model: string; scores: number[] }> {
  const scoreOf = ({ probability, contrastive }: Match) => probability ?? contrastive
  const match = async (image: Uint8Array, texts: string[], signal: AbortSignal) =>
    await engine.answer<'match'>({ task: 'match', image, texts, rank_by }, { signal })
  if ('image' in query) {
    const texts = documents.map((one) => (one as { text: string }).text)
    const { matches, model } = await match(query.image, texts, signal)
    const scoreOfText = new Map(matches.map((one) => [one.text, scoreOf(one)]))
    return { model, scores: texts.map((text) => scoreOfText.get(text)!) }
  }
  const found = await inOrder(documents, signal, (one, signal) =>
    match((one as { image: Uint8Array }).image, [query.text], signal),
  )
  return { model: found[0]!.model, scores: found.map(({ matches }) => scoreOf(matches[0]!)) }
}
