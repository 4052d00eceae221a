// Writes a full-size BLIP-2 checkpoint with random weights, in the hub's files and tensor names. Speed, memory and precision
// are measured on it where the real weights are not available.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b                 bf16, 7.5 GB, in three shards
//   node bench/random-checkpoint.mjs --model opt-6.7b --layers 4 --out /tmp/opt-6.7b
//   node bench/random-checkpoint.mjs --vision-layers 6 --layers 4 --outliers --out /tmp/outliers
//
// Matrices are Gaussian with deviation 1 / sqrt(inputs), so that the outputs of every stage have an ordinary size. Values are
// copied from random offsets of one pool of Gaussian numbers, because sampling 3.7 thousand million would take minutes.
// --outliers plants what trained models were found to have (OUTLIERS).

import { mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mersenne } from 'pure-rand/generator/mersenne'

const MODELS = {
  'opt-2.7b': { hidden_size: 2560, ffn_dim: 10240, num_hidden_layers: 32, num_attention_heads: 32 },
  'opt-6.7b': { hidden_size: 4096, ffn_dim: 16384, num_hidden_layers: 32, num_attention_heads: 32 },
}
const VISION = {
  hidden_size: 1408,
  intermediate_size: 6144,
  num_hidden_layers: 39,
  patch_size: 14,
  image_size: 224,
}
const QFORMER = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12 }
const QUERIES = 32
const REAL_TOKENS = 50265
const VOCABULARY = 50304
const POSITIONS = 2050
const SHARDS = 3
/**
 * Tensor names -> values that are much larger than the others. `rows` are elements of a vector, or rows of a matrix, that are
 * multiplied by factors from `from` to `to`; with `keepsSize` all are then divided by one number, so that the outputs of the
 * stage keep an ordinary size. `spikes` are single values [row, column, value].
 */
const OUTLIERS = [
  {
    // A few channels are large in every layer and at every token: Dettmers et al. 2022 (LLM.int8, arXiv 2208.07339) for OPT.
    // They come from the norms' gains: Wei et al. 2022 (Outlier Suppression, arXiv 2209.13325).
    names: /layers\.\d+\.(layer_norm[12]|self_attn_layer_norm|final_layer_norm)\.weight$/,
    rows: [17, 133, 301, 640, 777, 905, 1111, 1399],
    from: 10,
    to: 30,
    keepsSize: true,
  },
  {
    // A few tokens have a channel of hundreds: Sun et al. 2024 (Massive Activations, arXiv 2402.17762), in ViTs and in OPT,
    // there at the first position. Positions of OPT begin at row 2.
    names: /position_embedding$/,
    spikes: [
      [0, 450, 300],
      [37, 1000, -250],
      [200, 450, 300],
    ],
  },
  { names: /embed_positions\.weight$/, spikes: [[2, 450, 300]] },
  {
    // A few neurons of an MLP are much larger than the others: the same papers.
    names: /mlp\.fc1\.weight$|layers\.\d+\.fc1\.weight$/,
    rows: Array.from({ length: 16 }, (_, i) => 11 + 375 * i),
    from: 3,
    to: 10,
  },
]
const POOL_VALUES = 1 << 22
const PIECE_BYTES = 8 << 20

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'opt-2.7b' },
    layers: { type: 'string' },
    'vision-layers': { type: 'string' },
    outliers: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
})
const text = MODELS[options.model]
if (!text || !options.out) {
  console.error(`Expected --out <folder> and --model ${Object.keys(MODELS).join(' or ')}`)
  process.exit(2)
}
if (options.layers) text.num_hidden_layers = Number(options.layers)
if (options['vision-layers']) VISION.num_hidden_layers = Number(options['vision-layers'])

const random = mersenne(Number(options.seed))
const uniform = () => (random.next() >>> 0) / 2 ** 32
const pools = new Map()
await mkdir(options.out, { recursive: true })
await writeShards([...tensors()])
await writeSmallFiles()

/** Yields the name and shape of each tensor, and the deviation and mean of its values. */
function* tensors() {
  const matrix = (name, outputs, inputs, gain = 1) => ({
    name,
    shape: [outputs, inputs],
    deviation: gain / Math.sqrt(inputs),
  })
  const vector = (name, size) => ({ name, shape: [size], deviation: 0.02 })
  function* linear(name, outputs, inputs) {
    yield matrix(`${name}.weight`, outputs, inputs)
    yield vector(`${name}.bias`, outputs)
  }
  function* norm(name, size) {
    yield { name: `${name}.weight`, shape: [size], deviation: 0.05, mean: 1 }
    yield vector(`${name}.bias`, size)
  }

  const { hidden_size: V, intermediate_size: VF } = VISION
  const side = VISION.image_size / VISION.patch_size
  yield { name: 'vision_model.embeddings.class_embedding', shape: [1, 1, V], deviation: 0.5 }
  yield { name: 'vision_model.embeddings.position_embedding', shape: [1, side * side + 1, V], deviation: 0.5 }
  yield {
    name: 'vision_model.embeddings.patch_embedding.weight',
    shape: [V, 3, VISION.patch_size, VISION.patch_size],
    deviation: 0.04,
  }
  yield vector('vision_model.embeddings.patch_embedding.bias', V)
  for (let i = 0; i < VISION.num_hidden_layers; i++) {
    const layer = `vision_model.encoder.layers.${i}`
    yield* norm(`${layer}.layer_norm1`, V)
    yield* norm(`${layer}.layer_norm2`, V)
    yield* linear(`${layer}.self_attn.qkv`, 3 * V, V)
    yield* linear(`${layer}.self_attn.projection`, V, V)
    yield* linear(`${layer}.mlp.fc1`, VF, V)
    yield* linear(`${layer}.mlp.fc2`, V, VF)
  }
  yield* norm('vision_model.post_layernorm', V)

  const { hidden_size: Q, intermediate_size: QF } = QFORMER
  yield { name: 'query_tokens', shape: [1, QUERIES, Q], deviation: 1 }
  yield* norm('qformer.layernorm', Q)
  for (let i = 0; i < QFORMER.num_hidden_layers; i++) {
    const layer = `qformer.encoder.layer.${i}`
    for (const [attention, width] of [['attention', Q], ...(i % 2 === 0 ? [['crossattention', V]] : [])]) {
      yield* linear(`${layer}.${attention}.attention.query`, Q, Q)
      yield* linear(`${layer}.${attention}.attention.key`, Q, width)
      yield* linear(`${layer}.${attention}.attention.value`, Q, width)
      yield* linear(`${layer}.${attention}.output.dense`, Q, Q)
      yield* norm(`${layer}.${attention}.output.LayerNorm`, Q)
    }
    yield* linear(`${layer}.intermediate_query.dense`, QF, Q)
    yield* linear(`${layer}.output_query.dense`, Q, QF)
    yield* norm(`${layer}.output_query.LayerNorm`, Q)
  }
  yield* linear('language_projection', text.hidden_size, Q)

  const { hidden_size: D, ffn_dim: F } = text
  const decoder = 'language_model.model.decoder'
  yield { name: `${decoder}.embed_tokens.weight`, shape: [VOCABULARY, D], deviation: 0.5 }
  yield { name: `${decoder}.embed_positions.weight`, shape: [POSITIONS, D], deviation: 0.1 }
  yield* norm(`${decoder}.final_layer_norm`, D)
  for (let i = 0; i < text.num_hidden_layers; i++) {
    const layer = `${decoder}.layers.${i}`
    for (const part of ['q_proj', 'k_proj', 'v_proj', 'out_proj'])
      yield* linear(`${layer}.self_attn.${part}`, D, D)
    yield* norm(`${layer}.self_attn_layer_norm`, D)
    yield* linear(`${layer}.fc1`, F, D)
    yield* linear(`${layer}.fc2`, D, F)
    yield* norm(`${layer}.final_layer_norm`, D)
  }
}

async function writeShards(all) {
  const bytesOf = ({ shape }) => 2 * shape.reduce((a, b) => a * b, 1)
  const total = all.reduce((sum, tensor) => sum + bytesOf(tensor), 0)
  const shards = Array.from({ length: SHARDS }, () => [])
  let before = 0
  for (const tensor of all) {
    shards[Math.min(SHARDS - 1, Math.floor((before / total) * SHARDS))].push(tensor)
    before += bytesOf(tensor)
  }
  const weight_map = {}
  for (const [i, shard] of shards.entries()) {
    const file = `model-${String(i + 1).padStart(5, '0')}-of-${String(SHARDS).padStart(5, '0')}.safetensors`
    const header = { __metadata__: { format: 'pt' } }
    let offset = 0
    for (const tensor of shard) {
      weight_map[tensor.name] = file
      header[tensor.name] = {
        dtype: 'BF16',
        shape: tensor.shape,
        data_offsets: [offset, offset + bytesOf(tensor)],
      }
      offset += bytesOf(tensor)
    }
    const json = JSON.stringify(header)
    const head = Buffer.from(`        ${json.padEnd(Math.ceil(json.length / 8) * 8)}`)
    head.writeBigUInt64LE(BigInt(head.length - 8))
    const handle = await open(join(options.out, file), 'w')
    await handle.writeFile(head)
    for (const tensor of shard) {
      const size = bytesOf(tensor)
      for (let at = 0; at < size; at += PIECE_BYTES) {
        const values = piece(tensor, Math.min(PIECE_BYTES, size - at))
        if (options.outliers) plant(tensor, values, at / 2)
        await handle.writeFile(new Uint8Array(values.buffer))
      }
    }
    await handle.close()
    console.log(`${file}: ${(offset / 1e9).toFixed(2)} GB`)
  }
  await writeJson('model.safetensors.index.json', { metadata: { total_size: total }, weight_map })
}

/** Returns bfloat16 values: a range of the pool of this deviation from a random offset, wrapping around. */
function piece({ deviation, mean = 0 }, bytes) {
  const key = `${deviation} ${mean}`
  if (!pools.has(key)) pools.set(key, pool(deviation, mean))
  const values = pools.get(key)
  const out = new Uint16Array(bytes / 2)
  let at = Math.floor(uniform() * values.length)
  for (let done = 0; done < out.length; ) {
    const part = values.subarray(at, Math.min(values.length, at + out.length - done))
    out.set(part, done)
    done += part.length
    at = 0
  }
  return out
}

/** Plants OUTLIERS into a piece of a tensor that begins at its value `start`. */
function plant({ name, shape }, values, start) {
  const width = shape.length === 1 ? 1 : shape.at(-1)
  for (const { names, rows = [], from, to, keepsSize = false, spikes = [] } of OUTLIERS) {
    if (!names.test(name)) continue
    const factors = new Map(rows.map((row, i) => [row, from * (to / from) ** (i / (rows.length - 1))]))
    const squares = [...factors.values()].reduce((sum, factor) => sum + factor ** 2, 0)
    const divisor = keepsSize ? Math.sqrt((shape[0] - rows.length + squares) / shape[0]) : 1
    for (let at = 0; at < values.length; at++) {
      const factor = (factors.get(Math.floor((start + at) / width)) ?? 1) / divisor
      if (factor !== 1) values[at] = toBf16(fromBf16(values[at]) * factor)
    }
    for (const [row, column, value] of spikes) {
      const at = row * width + column - start
      if (at >= 0 && at < values.length) values[at] = toBf16(value)
    }
  }
}

/** bfloat16 is the upper half of a float32. */
function fromBf16(bits) {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]
}

function toBf16(value) {
  return new Uint32Array(Float32Array.of(value).buffer)[0] >>> 16
}

/** Samples by Box-Muller, truncated to bfloat16. */
function pool(deviation, mean) {
  const values = new Float32Array(POOL_VALUES)
  for (let i = 0; i < POOL_VALUES; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(uniform() || 1e-9))
    const angle = 2 * Math.PI * uniform()
    values[i] = mean + radius * Math.cos(angle)
    values[i + 1] = mean + radius * Math.sin(angle)
  }
  const bits = new Uint32Array(values.buffer)
  return Uint16Array.from(bits, (word) => word >>> 16)
}

async function writeSmallFiles() {
  await writeJson('config.json', {
    architectures: ['Blip2ForConditionalGeneration'],
    image_token_index: REAL_TOKENS,
    model_type: 'blip-2',
    num_query_tokens: QUERIES,
    qformer_config: { model_type: 'blip_2_qformer' },
    text_config: {
      model_type: 'opt',
      ...text,
      word_embed_proj_dim: text.hidden_size,
      vocab_size: VOCABULARY,
      eos_token_id: 50118,
    },
    vision_config: {
      model_type: 'blip_2_vision_model',
      num_hidden_layers: VISION.num_hidden_layers,
    },
  })
  await writeJson('preprocessor_config.json', {
    do_convert_rgb: true,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_processor_type: 'BlipImageProcessor',
    image_std: [0.26862954, 0.26130258, 0.27577711],
    resample: 3,
    rescale_factor: 1 / 255,
    size: { height: 224, width: 224 },
  })
  // Tokens of two bytes, so that every id below 50265 is a token.
  const bytes = byteLetters()
  const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3 }
  for (const letter of bytes) vocab[letter] = Object.keys(vocab).length
  const merges = []
  let next = 4 + bytes.length
  for (let i = 0; next < REAL_TOKENS; i++, next++) {
    const [a, b] = [bytes[Math.floor(i / 256)], bytes[i % 256]]
    vocab[a + b] = next
    merges.push(`${a} ${b}`)
  }
  await writeJson('vocab.json', vocab)
  await writeFile(join(options.out, 'merges.txt'), `#version: 0.2\n${merges.join('\n')}\n`)
  await writeJson('tokenizer_config.json', {
    add_bos_token: true,
    add_prefix_space: false,
    bos_token: '</s>',
    eos_token: '</s>',
    pad_token: '<pad>',
    tokenizer_class: 'GPT2Tokenizer',
    unk_token: '</s>',
  })
}

/** Returns the letters by which byte-level BPE writes the 256 bytes (GPT-2's bytes_to_unicode). */
function byteLetters() {
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173)
  let extra = 0
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : 256 + extra++))
}

async function writeJson(file, value) {
  await writeFile(join(options.out, file), `${JSON.stringify(value, null, 1)}\n`)
}
