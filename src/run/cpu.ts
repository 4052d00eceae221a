// The processor of this machine -> what it can do, and the session settings that fit it.

import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** An instruction for sums of 8-bit products, by its name in /proc/cpuinfo. Without one, x86 adds them in 16 bits. */
const DOT_PRODUCTS: Partial<Record<string, readonly string[]>> = {
  x64: ['avx512_vnni', 'avx_vnni', 'amx_int8'],
  arm64: ['i8mm', 'asimddp'],
}

export interface Processor {
  /** process.arch */
  arch: string
  model: string
  /** Undefined where the system does not list its instructions (everywhere but on Linux). */
  flags?: readonly string[]
  /** The instruction it has for sums of 8-bit products; undefined if it has none, or does not say. */
  dotProducts?: string
}

/** @param cpuinfo text of /proc/cpuinfo; undefined on a system without it */
export function describeProcessor(cpuinfo: string | undefined, arch: string, model = ''): Processor {
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo ?? '')?.[1]?.split(' ')
  const dotProducts = DOT_PRODUCTS[arch]?.find((name) => flags?.includes(name))
  return { arch, model, flags, dotProducts }
}

let ofThisMachine: Processor | undefined

/** The processor of this machine, read once. */
export function thisProcessor(): Processor {
  ofThisMachine ??= readProcessor()
  return ofThisMachine
}

function readProcessor(): Processor {
  let cpuinfo: string | undefined
  try {
    cpuinfo = readFileSync('/proc/cpuinfo', 'utf8')
  } catch {}
  return describeProcessor(cpuinfo, process.arch, cpus()[0]?.model)
}

/**
 * Session settings that change how weights are prepacked (onnxruntime_session_options_config_keys.h). An x86 processor
 * without VNNI adds 8-bit products in 16 bits, where they saturate; x64quantprecision keeps them exact. With VNNI nothing
 * saturates, and the setting would double the time of the vision tower. ARM never saturates.
 */
export function prepackSettings({ arch, dotProducts }: Processor): Record<string, string> {
  return arch === 'x64' && dotProducts === undefined ? { x64quantprecision: '1' } : {}
}
