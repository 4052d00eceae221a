// Writes a full-size BLIP-2 checkpoint with random weights, in the hub's files and tensor names. Speed, memory and precision
// are measured on it where the real weights are not available.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b                 bf16, 7.5 GB, in three shards
//   node bench/random-checkpoint.mjs --model flan-t5-xxl --layers 2 --out /tmp/flan-t5-xxl
//   node bench/random-checkpoint.mjs --model instructblip-vicuna-7b --out /tmp/vicuna-7b      16 GB
//   node bench/random-checkpoint.mjs --vision-layers 6 --layers 4 --outliers --out /tmp/outliers
//
// --layers counts the language model's, of T5 in the encoder and in the decoder. Default: all.
//
// Matrices are Gaussian with deviation 1 / sqrt(inputs), so that the outputs of every stage have an ordinary size. Values are
// copied from random offsets of one pool of Gaussian numbers, because sampling 3.7 thousand million would take minutes.
// --outliers plants what trained models were found to have (OUTLIERS).

import { mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mersenne } from 'pure-rand/generator/mersenne'
import { byteLevelBpe, llamaBpe, unigram, wordPiece } from './random-tokenizers.mjs'

const OPT = { model_type: 'opt', vocab_size: 50304, eos_token_id: 50118 }
const T5 = {
  model_type: 't5',
  vocab_size: 32128,
  d_kv: 64,
  feed_forward_proj: 'gated-gelu',
  dense_act_fn: 'gelu',
  tie_word_embeddings: false,
  bos_token_id: 1,
  decoder_start_token_id: 0,
}
const LLAMA = {
  model_type: 'llama',
  vocab_size: 32002,
  pad_token_id: 32000,
  bos_token_id: 1,
  eos_token_id: 2,
}
/** `text_config` of each. Sizes: the hub's files. Names that begin with `instructblip` are InstructBLIP's. */
const MODELS = {
  'opt-2.7b': {
    ...OPT,
    hidden_size: 2560,
    word_embed_proj_dim: 2560,
    ffn_dim: 10240,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  'opt-6.7b': {
    ...OPT,
    hidden_size: 4096,
    word_embed_proj_dim: 4096,
    ffn_dim: 16384,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  'flan-t5-xl': { ...T5, d_model: 2048, d_ff: 5120, num_layers: 24, num_heads: 32 },
  'flan-t5-xxl': { ...T5, d_model: 4096, d_ff: 10240, num_layers: 24, num_heads: 64 },
  'instructblip-flan-t5-xl': { ...T5, d_model: 2048, d_ff: 5120, num_layers: 24, num_heads: 32 },
  'instructblip-vicuna-7b': {
    ...LLAMA,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  'instructblip-vicuna-13b': {
    ...LLAMA,
    hidden_size: 5120,
    intermediate_size: 13824,
    num_hidden_layers: 40,
    num_attention_heads: 40,
  },
}
/** By the kind of language model. `realTokens`: the vocabulary is padded behind them; the placeholder of the picture follows. */
const FAMILIES = {
  opt: {
    layers: 'num_hidden_layers',
    width: 'hidden_size',
    realTokens: 50265,
    tensors: opt,
    tokenizer: byteLevelBpe,
  },
  t5: { layers: 'num_layers', width: 'd_model', realTokens: 32100, tensors: t5, tokenizer: unigram },
  llama: {
    layers: 'num_hidden_layers',
    width: 'hidden_size',
    realTokens: 32001,
    tensors: llama,
    tokenizer: llamaBpe,
  },
}
const VISION = {
  hidden_size: 1408,
  intermediate_size: 6144,
  num_hidden_layers: 39,
  patch_size: 14,
  image_size: 224,
}
const QFORMER = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12 }
/** Of InstructBLIP, whose Q-Former reads text: the rows of its table. */
const WORDS = 30523
const QUERIES = 32
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
    names:
      /layers\.\d+\.(layer_norm[12]|self_attn_layer_norm|final_layer_norm|input_layernorm|post_attention_layernorm)\.weight$/,
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
  // In LLaMA at the token that begins a text, which is </s> here: the same paper, table 1.
  { names: /model\.embed_tokens\.weight$/, spikes: [[2, 1415, 300]] },
  {
    // A few neurons of an MLP are much larger than the others: the same papers.
    names: /mlp\.(fc1|up_proj)\.weight$|layers\.\d+\.fc1\.weight$/,
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
const family = FAMILIES[text.model_type]
const isInstructBlip = options.model.startsWith('instructblip')
if (options.layers) text[family.layers] = Number(options.layers)
if (options['vision-layers']) VISION.num_hidden_layers = Number(options['vision-layers'])

const random = mersenne(Number(options.seed))
const uniform = () => (random.next() >>> 0) / 2 ** 32
const pools = new Map()
await mkdir(options.out, { recursive: true })
await writeShards([...tensors()])
await writeSmallFiles()

function matrix(name, outputs, inputs, gain = 1) {
  return { name, shape: [outputs, inputs], deviation: gain / Math.sqrt(inputs) }
}

function vector(name, size) {
  return { name, shape: [size], deviation: 0.02 }
}

function* linear(name, outputs, inputs) {
  yield matrix(`${name}.weight`, outputs, inputs)
  yield vector(`${name}.bias`, outputs)
}

function gain(name, size) {
  return { name, shape: [size], deviation: 0.05, mean: 1 }
}

function* norm(name, size) {
  yield gain(`${name}.weight`, size)
  yield vector(`${name}.bias`, size)
}

/** Yields the name and shape of each tensor, and the deviation and mean of its values. */
function* tensors() {
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
  if (isInstructBlip) {
    yield { name: 'qformer.embeddings.word_embeddings.weight', shape: [WORDS, Q], deviation: 0.5 }
    yield { name: 'qformer.embeddings.position_embeddings.weight', shape: [512, Q], deviation: 0.1 }
  }
  yield* norm(isInstructBlip ? 'qformer.embeddings.layernorm' : 'qformer.layernorm', Q)
  for (let i = 0; i < QFORMER.num_hidden_layers; i++) {
    const layer = `qformer.encoder.layer.${i}`
    for (const [attention, width] of [['attention', Q], ...(i % 2 === 0 ? [['crossattention', V]] : [])]) {
      yield* linear(`${layer}.${attention}.attention.query`, Q, Q)
      yield* linear(`${layer}.${attention}.attention.key`, Q, width)
      yield* linear(`${layer}.${attention}.attention.value`, Q, width)
      yield* linear(`${layer}.${attention}.output.dense`, Q, Q)
      yield* norm(`${layer}.${attention}.output.LayerNorm`, Q)
    }
    for (const branch of isInstructBlip ? ['_query', ''] : ['_query']) {
      yield* linear(`${layer}.intermediate${branch}.dense`, QF, Q)
      yield* linear(`${layer}.output${branch}.dense`, Q, QF)
      yield* norm(`${layer}.output${branch}.LayerNorm`, Q)
    }
  }
  yield* linear('language_projection', text[family.width], Q)
  yield* family.tensors(text)
}

function* opt({ hidden_size: D, ffn_dim: F, num_hidden_layers, vocab_size: V }) {
  const decoder = 'language_model.model.decoder'
  yield { name: `${decoder}.embed_tokens.weight`, shape: [V, D], deviation: 0.5 }
  yield { name: `${decoder}.embed_positions.weight`, shape: [POSITIONS, D], deviation: 0.1 }
  yield* norm(`${decoder}.final_layer_norm`, D)
  for (let i = 0; i < num_hidden_layers; i++) {
    const layer = `${decoder}.layers.${i}`
    for (const part of ['q_proj', 'k_proj', 'v_proj', 'out_proj'])
      yield* linear(`${layer}.self_attn.${part}`, D, D)
    yield* norm(`${layer}.self_attn_layer_norm`, D)
    yield* linear(`${layer}.fc1`, F, D)
    yield* linear(`${layer}.fc2`, D, F)
    yield* norm(`${layer}.final_layer_norm`, D)
  }
}

/** T5's scores are not scaled, so the weights of its queries are smaller by the root of d_kv. */
function* t5({ d_model: D, d_ff: F, d_kv, num_heads, num_layers, vocab_size: V }) {
  const E = num_heads * d_kv
  yield { name: 'language_model.shared.weight', shape: [V, D], deviation: 1 }
  yield matrix('language_model.lm_head.weight', V, D)
  for (const side of ['encoder', 'decoder']) {
    const stack = `language_model.${side}`
    const attentions = side === 'encoder' ? ['SelfAttention'] : ['SelfAttention', 'EncDecAttention']
    const table = `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`
    yield { name: table, shape: [32, num_heads], deviation: 0.5 }
    yield gain(`${stack}.final_layer_norm.weight`, D)
    for (let i = 0; i < num_layers; i++) {
      for (const [j, attention] of attentions.entries()) {
        const layer = `${stack}.block.${i}.layer.${j}`
        yield gain(`${layer}.layer_norm.weight`, D)
        yield matrix(`${layer}.${attention}.q.weight`, E, D, d_kv ** -0.5)
        for (const part of ['k', 'v']) yield matrix(`${layer}.${attention}.${part}.weight`, E, D)
        yield matrix(`${layer}.${attention}.o.weight`, D, E)
      }
      const layer = `${stack}.block.${i}.layer.${attentions.length}`
      yield gain(`${layer}.layer_norm.weight`, D)
      for (const part of ['wi_0', 'wi_1']) yield matrix(`${layer}.DenseReluDense.${part}.weight`, F, D)
      yield matrix(`${layer}.DenseReluDense.wo.weight`, D, F)
    }
  }
}

function* llama({ hidden_size: D, intermediate_size: F, num_hidden_layers, vocab_size: V }) {
  yield { name: 'language_model.model.embed_tokens.weight', shape: [V, D], deviation: 0.5 }
  for (let i = 0; i < num_hidden_layers; i++) {
    const layer = `language_model.model.layers.${i}`
    yield gain(`${layer}.input_layernorm.weight`, D)
    for (const part of ['q_proj', 'k_proj', 'v_proj', 'o_proj'])
      yield matrix(`${layer}.self_attn.${part}.weight`, D, D)
    yield gain(`${layer}.post_attention_layernorm.weight`, D)
    for (const part of ['gate_proj', 'up_proj']) yield matrix(`${layer}.mlp.${part}.weight`, F, D)
    yield matrix(`${layer}.mlp.down_proj.weight`, D, F)
  }
  yield gain('language_model.model.norm.weight', D)
  yield matrix('language_model.lm_head.weight', V, D)
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
    architectures: [`${isInstructBlip ? 'InstructBlip' : 'Blip2'}ForConditionalGeneration`],
    image_token_index: family.realTokens,
    model_type: isInstructBlip ? 'instructblip' : 'blip-2',
    num_query_tokens: QUERIES,
    qformer_config: isInstructBlip
      ? { model_type: 'instructblip_qformer', vocab_size: WORDS }
      : { model_type: 'blip_2_qformer' },
    text_config: text,
    vision_config: {
      model_type: isInstructBlip ? 'instructblip_vision_model' : 'blip_2_vision_model',
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
  const files = Object.entries(family.tokenizer(family.realTokens))
  if (isInstructBlip) {
    await mkdir(join(options.out, 'qformer_tokenizer'), { recursive: true })
    const own = Object.entries(wordPiece(WORDS))
    files.push(...own.map(([file, content]) => [join('qformer_tokenizer', file), content]))
  }
  for (const [file, content] of files) {
    if (typeof content === 'string') await writeFile(join(options.out, file), content)
    else await writeJson(file, content)
  }
}

async function writeJson(file, value) {
  await writeFile(join(options.out, file), `${JSON.stringify(value, null, 1)}\n`)
}
