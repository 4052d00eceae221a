// The table of architectures, and config.json -> the plan of its model by the row that recognises it.

import { ArtifactError } from '../errors.ts'
import { type Architecture, headerSchema, type ModelPlan } from './architecture.ts'
import { blip2Itm } from './blip2-itm.ts'
import { blip2Opt } from './blip2-opt.ts'
import { blip2T5 } from './blip2-t5.ts'
import { parsed } from './config.ts'
import { instructBlipLlama, instructBlipT5 } from './instructblip.ts'

export const ARCHITECTURES: readonly Architecture[] = [
  blip2Opt,
  blip2T5,
  blip2Itm,
  instructBlipLlama,
  instructBlipT5,
]

/** @throws ArtifactError `unknown_architecture` or `bad_config`, which names every wrong key */
export function planModel(json: unknown, { untied = false } = {}): ModelPlan {
  const canBuild = `Glimpse builds ${ARCHITECTURES.map(({ examples }) => examples).join('; ')}.`
  const header = parsed(headerSchema, json, canBuild)
  const row = ARCHITECTURES.find((one) => one.recognizes(header))
  if (row) return row.plan(json, { untied, canBuild })
  throw new ArtifactError(
    'unknown_architecture',
    `config.json has model_type "${header.model_type}", architecture "${header.architecture}" and text model "${header.language}", which Glimpse cannot build. ${canBuild}`,
  )
}
