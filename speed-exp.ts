import { buildArtifact } from '/work/w/Q/src/builder/build.ts'
import * as recipes from '/work/w/Q/src/quantize/recipes.ts'
import { openModel } from '/work/w/Q/src/run/model.ts'
import { Tensor } from '/work/w/Q/src/run/tensor.ts'
import { runVision } from '/work/w/Q/src/run/vision.ts'
import { existsSync } from 'node:fs'
const build = async (folder: string, large: boolean) => {
  if (existsSync(folder)) return
  const saved: any[] = []
  if (!large) for (const rule of recipes.BLIP2_OPT.int4) { saved.push([rule, rule.format]); const { large: _, ...format } = rule.format as any; (rule as any).format = format }
  await buildArtifact('/tmp/q/ck', folder, { precision: 'int4', trial: false })
  for (const [rule, format] of saved) rule.format = format
}
await build('/tmp/q/a-large', true); await build('/tmp/q/a-none', false)
const models: any = {}
for (const n of ['large', 'none']) models[n] = await openModel(`/tmp/q/a-${n}`, { threads: 1 })
const pixels = Tensor.float32(new Float32Array(3*224*224).map((_, i) => Math.sin(i)), [1,3,224,224])
const prefix = Tensor.float32(new Float32Array(32*2560).map((_, i) => Math.sin(i*7)), [1,32,2560])
const best: any = {}
const time = async (k: string, f: () => Promise<any>) => { const t = performance.now(); await f(); const d = performance.now()-t; (best[k] ??= []).push(d) }
for (let r = 0; r < 12; r++) for (const n of ['large', 'none']) {
  const m = models[n]
  await time(`vision ${n}`, () => runVision(m.sessions.vision, pixels))
  let read: any
  await time(`prefill ${n}`, async () => { [read] = await m.language.prefill([{ prefix, ids: [2,5,6,7,8,9,10,11,12,13] }]) })
  for (let i = 0; i < 6; i++) await time(`step ${n}`, async () => { [read] = await m.language.step([read.state], [5]) })
}
for (const [k, v] of Object.entries<number[]>(best)) { v.sort((a,b)=>a-b); console.log(k, 'min', v[0]!.toFixed(2), 'q1', v[Math.floor(v.length/4)]!.toFixed(2)) }
