// GET /v1/models and GET /v1/models/<id>: the one model that is served, as clients of OpenAI's API list it.

import { Hono } from 'hono'
import type { Engine } from '../../engine/engine.ts'
import { RequestError } from '../../errors.ts'

/** @param open throws BusyError while there is no engine */
export function models(open: () => Engine): Hono {
  const created = Math.floor(Date.now() / 1000)
  const model = () => ({ id: open().model.name, object: 'model', created, owned_by: 'glimpse' })
  return new Hono()
    .get('/', (c) => c.json({ object: 'list', data: [model()] }))
    .get('/:id{.+}', (c) => {
      const served = model()
      if (c.req.param('id') === served.id) return c.json(served)
      throw new RequestError('not_found', `This server has no such model. It serves ${served.id}.`)
    })
}
