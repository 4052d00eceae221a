"""
Shapes of tiny BLIP-2 checkpoints, as data.

In:  a name of NAMED, or a seed for `random_configuration`.
Out: one complete configuration (see BASE for every key and its meaning).

Sizes are small. The configurations vary everything that a reader of checkpoints can get wrong.
"""

import copy
import random

# Keys of `vision`, `qformer`, `text` go to Blip2VisionConfig, Blip2QFormerConfig, OPTConfig or T5Config as they are.
BASE = {
    "vision": {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": 28,
        "patch_size": 14,
    },
    "qformer": {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 32,  # unread: the text side of the Q-Former is not part of this model
        "max_position_embeddings": 8,  # unread
    },
    "text": {
        "hidden_size": 24,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 160,
    },
    "family": "blip-2",  # or instructblip
    # The kind of language model: T5 below has the differences of "t5", LLAMA those of "llama", ITM those of "none".
    "language": "opt",
    "queries": 5,
    "merges": 40,  # of the byte-level BPE: 4 special tokens + 256 bytes + this many joined tokens
    "image_token": True,  # `<image>` as the first id after the tokenizer's, image_token_index in config.json
    "vocab_multiple": 64,  # vocab_size is padded up to a multiple of it; 1 = no padding
    "dtype": "float32",  # float32, float16, bfloat16, or float16-mixed: Q-Former and query_tokens stay float32,
    # which is what from_pretrained(dtype=float16) followed by save_pretrained writes
    "shard_bytes": None,  # max_shard_size; None = one file
    "qkv_bias": "joined",  # "joined": qkv.bias; "split": the original q_bias + v_bias; "none": qkv_bias false
    "head": "embed_tokens",  # the name that holds the tied matrix: embed_tokens, lm_head, or both
    "leftovers": [],  # names of further tensors in the file: of T5 a duplicate of `shared`, or one that nothing reads;
    # inv_freq of LLaMA and position_ids of the Q-Former
    "rope": None,  # only LLaMA
    "embedding_width": 10,  # only ITM: image_text_hidden_size
    "vocabulary_file": False,  # only ITM: vocab.txt in place of tokenizer.json
    "config_style": "full",  # full: every key; sparse: keys equal to the library's default left out;
    # hub: sparse, plus the keys without meaning that files on the Hub carry
    "processor_style": "hub",  # hub: preprocessor_config.json, vocab.json and so on; nested: as transformers 5 writes
    # it, pixels' settings inside processor_config.json, of the tokenizer only tokenizer.json and a short configuration
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "liveliness": 1.0,  # factor on the standard deviation of all weights of linear layers
}

# BASE with T5. Its `merges` are words of the vocabulary. Its `head` says which tensors the file has, and whether the LM
# head is a matrix of its own: shared; own (shared and another lm_head); lm_head (tied, under that name only).
# `scale`: how the file says whether the decoder's output is scaled: "4.x" by tie_word_embeddings, "5.x" by
# scale_decoder_outputs beside tie_word_embeddings true, as transformers 5 writes it; the value is scale_decoder_outputs.
T5 = {
    **BASE,
    "language": "t5",
    "text": {
        "d_model": 24,
        "d_kv": 8,
        "d_ff": 40,
        "num_layers": 2,
        "num_heads": 3,
        "feed_forward_proj": "gated-gelu",
        "dense_act_fn": "gelu",
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 20,
    },
    "merges": 120,
    "head": "own",
    "scale": ["4.x", False],
}

# BASE of InstructBLIP with LLaMA (Vicuna): the Q-Former reads the instruction. Its `merges` are joined tokens. Its `head`:
# own (embed_tokens and another lm_head), or tied under one of the names of BASE. `rope`: how the file says the rotary
# settings: "5.x" rope_parameters, "4.x" rope_theta and rope_scaling null, None: not at all.
LLAMA = {
    **BASE,
    "family": "instructblip",
    "language": "llama",
    "qformer": {**BASE["qformer"], "vocab_size": 240, "max_position_embeddings": 160},
    "text": {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 160,
    },
    "head": "own",
    "rope": "5.x",
}

# InstructBLIP with T5.
INSTRUCT_T5 = {**T5, "family": "instructblip", "qformer": LLAMA["qformer"]}

# BASE without a language model: Blip2ForImageTextRetrieval. Its `merges` are pieces of the vocabulary of WordPiece, and its
# Q-Former reads text. `text` stays in config.json as the Hub's files have it, and means nothing.
ITM = {
    **BASE,
    "language": "none",
    "qformer": {**BASE["qformer"], "max_position_embeddings": 40, "use_qformer_text_input": True},
    "text": {},
    "merges": 60,
    "vocab_multiple": 1,
    "image_token": False,
}

# name -> the differences from BASE, or from the row of BASES whose name it begins with
NAMED = {
    # vision
    "base": {},
    "patch-7": {"vision": {"image_size": 35, "patch_size": 7}},
    "patch-16": {"vision": {"image_size": 48, "patch_size": 16}},
    "image-remainder": {"vision": {"image_size": 31, "patch_size": 7}},  # 31 = 4 * 7 + 3: the edge is ignored
    "single-patch": {"vision": {"image_size": 14, "patch_size": 14}},
    "vision-deep": {"vision": {"num_hidden_layers": 5, "hidden_size": 20, "num_attention_heads": 2}},
    "vision-one-head": {"vision": {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 22}},
    "head-dim-11": {"vision": {"hidden_size": 33, "num_attention_heads": 3, "intermediate_size": 37}},
    "vision-eps-1e-5": {"vision": {"layer_norm_eps": 1e-5}},
    "vision-quick-gelu": {"vision": {"hidden_act": "quick_gelu"}},
    "vision-relu": {"vision": {"hidden_act": "relu"}, "qformer": {"hidden_act": "relu"}},
    "bias-split": {"qkv_bias": "split"},
    "bias-none": {"qkv_bias": "none"},
    # Q-Former
    "one-query": {"queries": 1},
    "queries-12": {"queries": 12, "qformer": {"num_hidden_layers": 3, "cross_attention_frequency": 1}},
    "cross-every-3": {"qformer": {"num_hidden_layers": 4, "cross_attention_frequency": 3}},
    "qformer-wide": {"qformer": {"hidden_size": 36, "num_attention_heads": 4, "intermediate_size": 30}},
    "qformer-eps-1e-6": {"qformer": {"layer_norm_eps": 1e-6, "hidden_act": "gelu_new"}},
    # language model
    "text-deep": {"text": {"num_hidden_layers": 4, "hidden_size": 20, "num_attention_heads": 4}},
    "text-head-dim-14": {"text": {"hidden_size": 28, "num_attention_heads": 2, "ffn_dim": 50}},
    "text-gelu": {"text": {"activation_function": "gelu"}},
    "norm-after": {"text": {"do_layer_norm_before": False}},
    "no-final-norm": {"text": {"_remove_final_layer_norm": True}},
    "text-no-bias": {"text": {"enable_bias": False}},
    "norm-without-weights": {"text": {"layer_norm_elementwise_affine": False}},
    "eos-2": {"text": {"eos_token_id": 2}},  # stock OPT: stops at </s>, not at the newline
    # vocabulary, files
    "no-image-token": {"image_token": False, "vocab_multiple": 1},
    "image-token-unpadded": {"vocab_multiple": 1},
    "no-image-token-padded": {"image_token": False, "vocab_multiple": 16},
    "head-lm_head": {"head": "lm_head"},
    "head-both": {"head": "both"},
    "float16": {"dtype": "float16"},
    "float16-mixed": {"dtype": "float16-mixed"},
    "bfloat16": {"dtype": "bfloat16"},
    "shards": {"shard_bytes": 60_000},
    "config-sparse": {"config_style": "sparse", "queries": 32},
    "config-hub": {"config_style": "hub", "queries": 32, "dtype": "float16"},
    "processor-nested": {"processor_style": "nested"},
    "other-pixels": {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]},
    # the five under test/fixtures/checkpoints: several differences at once
    "plain": {"vision": {"image_size": 28, "patch_size": 7}, "merges": 36},
    "old-layout": {
        "vision": {"image_size": 42, "layer_norm_eps": 1e-5, "num_attention_heads": 2, "hidden_size": 22},
        "qformer": {"num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 30},
        "text": {"num_hidden_layers": 1, "num_attention_heads": 4},
        "queries": 12,
        "image_token": False,
        "vocab_multiple": 1,
        "qkv_bias": "split",
        "head": "lm_head",
    },
    "half-shards": {
        "vision": {"image_size": 48, "patch_size": 16, "hidden_act": "quick_gelu", "num_hidden_layers": 3},
        "qformer": {
            "hidden_size": 20,
            "intermediate_size": 24,
            "num_hidden_layers": 4,
            "cross_attention_frequency": 3,
        },
        "text": {"hidden_size": 28, "num_attention_heads": 2, "max_position_embeddings": 120},
        "queries": 7,
        "dtype": "float16-mixed",
        "shard_bytes": 60_000,
        "head": "both",
    },
    "hub-defaults": {
        "vision": {"image_size": 31, "patch_size": 7, "hidden_size": 33},
        "qformer": {"cross_attention_frequency": 2},
        "queries": 32,
        "dtype": "bfloat16",
        "config_style": "hub",
    },
    "odd": {
        "vision": {"hidden_act": "relu", "num_attention_heads": 1, "num_hidden_layers": 1},
        "qformer": {"cross_attention_frequency": 1, "hidden_size": 20, "layer_norm_eps": 1e-6},
        "text": {
            "do_layer_norm_before": False,
            "enable_bias": False,
            "activation_function": "gelu",
            "hidden_size": 30,
            "num_attention_heads": 3,
        },
        "merges": 30,
        "queries": 1,
        "qkv_bias": "none",
        "vocab_multiple": 1,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.25, 0.2],
    },
    # T5
    "t5-gated": {},
    "t5-plain": {
        "text": {
            "feed_forward_proj": "relu",
            "dense_act_fn": None,
            "num_layers": 3,
            "num_decoder_layers": 1,
            "d_kv": 6,
            "num_heads": 4,
            "d_model": 20,
        },
        "vision": {"image_size": 42},
        "queries": 12,
        "head": "shared",
        "scale": ["4.x", True],
        "dtype": "bfloat16",
        "shard_bytes": 40_000,
        "config_style": "hub",
        "leftovers": ["encoder.embed_tokens", "decoder.embed_tokens", "EncDecAttention"],
        "vocab_multiple": 1,
        "image_token": False,
    },
    "t5-saved-by-5": {"scale": ["5.x", False], "processor_style": "nested", "text": {"dense_act_fn": None}},
    "t5-own-and-scaled": {"scale": ["5.x", True]},
    "t5-tied-not-scaled": {"head": "shared", "scale": ["4.x", False]},
    "t5-tied-under-lm_head": {"head": "lm_head", "scale": ["4.x", True]},
    "t5-deeper-decoder": {"text": {"num_layers": 1, "num_decoder_layers": 3}},
    "t5-defaults": {
        "text": {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128},
        "config_style": "sparse",
        "queries": 32,
    },
    "t5-float16": {"dtype": "float16-mixed", "leftovers": ["decoder.embed_tokens"]},
    # InstructBLIP
    "llama-grouped": {
        "text": {
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "hidden_size": 24,
            "head_dim": 8,
            "rope_theta": 500.0,
            "pad_token_id": -1,
        },
        "rope": "4.x",
        "leftovers": ["inv_freq", "position_ids"],
        "queries": 7,
        "dtype": "float16-mixed",
        "merges": 20,
    },
    "llama-old": {
        "text": {"pad_token_id": -1, "bos_token_id": 0, "num_hidden_layers": 1, "rms_norm_eps": 1e-5},
        "rope": None,
        "dtype": "float16-mixed",
        "shard_bytes": 60_000,
        "leftovers": ["inv_freq", "position_ids"],
        "qkv_bias": "split",
        "image_token": False,
        "vocab_multiple": 1,
        "config_style": "hub",
    },
    "llama-theta": {"text": {"rope_theta": 500.0, "attention_bias": True, "mlp_bias": True}, "rope": "4.x"},
    "llama-tied": {"head": "embed_tokens", "text": {"num_key_value_heads": 1}},
    "llama-saved-by-5": {"processor_style": "nested", "dtype": "bfloat16", "text": {"rope_theta": 100.0}},
    "llama-eos-list": {"text": {"eos_token_id": [2, 40]}, "queries": 1},
    "llama-head-16": {"text": {"hidden_size": 32, "num_attention_heads": 2, "hidden_act": "gelu"}, "queries": 32},
    "instruct-t5-gated": {"leftovers": ["position_ids"]},
    "instruct-t5-plain": {
        "text": {"feed_forward_proj": "relu", "dense_act_fn": None, "num_layers": 1, "d_kv": 6, "num_heads": 4, "d_model": 20},
        "queries": 12,
        "head": "shared",
        "scale": ["4.x", True],
        "dtype": "bfloat16",
        "shard_bytes": 40_000,
        "config_style": "hub",
        "leftovers": ["encoder.embed_tokens", "decoder.embed_tokens", "EncDecAttention", "position_ids"],
        "vocab_multiple": 1,
        "image_token": False,
    },
    "instruct-t5-saved-by-5": {"scale": ["5.x", False], "processor_style": "nested"},
    # matching
    "itm": {"qformer": {"num_hidden_layers": 3}, "queries": 6},
    "itm-odd": {
        "vision": {"image_size": 31, "patch_size": 7, "num_hidden_layers": 1, "hidden_size": 22, "num_attention_heads": 2},
        "qformer": {
            "hidden_size": 30,
            "num_attention_heads": 3,
            "num_hidden_layers": 4,
            "cross_attention_frequency": 3,
            "hidden_act": "relu",
            "layer_norm_eps": 1e-6,
        },
        "queries": 3,
        "image_token": True,
        "vocab_multiple": 16,
        "embedding_width": 7,
        "dtype": "float16-mixed",
        "shard_bytes": 40_000,
        "qkv_bias": "split",
        "leftovers": ["position_ids"],
        "vocabulary_file": True,
        "config_style": "hub",
    },
    # On demand, about 250 MB: every width is the library's default and absent from config.json.
    "hub-like": {
        "vision": {
            "hidden_size": 1408,
            "intermediate_size": 6144,
            "num_attention_heads": 16,
            "num_hidden_layers": 2,
            "image_size": 224,
        },
        "qformer": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 2,
            "vocab_size": 30522,
            "max_position_embeddings": 512,
        },
        "text": {
            "hidden_size": 768,
            "ffn_dim": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 2,
            "max_position_embeddings": 2048,
        },
        "queries": 32,
        "vocab_multiple": 50272,
        "dtype": "float16",
        "config_style": "hub",
    },
    # transformers builds this model but runs it wrongly (see README, "Widths that differ"): for a refusal test only.
    "refused-word-embed-proj": {"text": {"word_embed_proj_dim": 16}},
}

# Each is written for one test, not for sweeps.
ON_DEMAND = {"hub-like", "refused-word-embed-proj"}


# Beginning of a name in NAMED -> what it differs from.
BASES = {"t5": T5, "itm": ITM, "llama": LLAMA, "instruct-t5": INSTRUCT_T5}


def group_of(name):
    """Returns the key of BASES, or "opt"."""
    return next((group for group in BASES if name.startswith(group)), "opt")


def named_configuration(name):
    """The base of its group with the differences of NAMED[name]."""
    return merge(BASES.get(group_of(name), BASE), NAMED[name])


def random_configuration(seed):
    """Returns a configuration with random values on all axes. The same seed gives the same configuration."""
    draw = random.Random(seed)

    def width(heads_choices, head_dim_choices):
        heads = draw.choice(heads_choices)
        return {"num_attention_heads": heads, "hidden_size": heads * draw.choice(head_dim_choices)}

    patch = draw.choice([7, 14, 16])
    layers = draw.choice([1, 2, 3, 4])
    image_token = draw.random() < 0.7
    return merge(
        BASE,
        {
            "vision": {
                **width([1, 2, 3, 4], [7, 8, 10, 11, 12]),
                "intermediate_size": draw.choice([17, 32, 40, 60]),
                "num_hidden_layers": draw.choice([1, 2, 3]),
                "image_size": patch * draw.choice([1, 2, 3, 4]) + draw.choice([0, 0, 0, 3]),
                "patch_size": patch,
                "layer_norm_eps": draw.choice([1e-6, 1e-5]),
                "hidden_act": draw.choice(["gelu", "gelu", "quick_gelu", "relu"]),
            },
            "qformer": {
                **width([1, 2, 3], [8, 9, 12]),
                "intermediate_size": draw.choice([20, 32, 50]),
                "num_hidden_layers": layers,
                "cross_attention_frequency": draw.choice([1, 2, 2, 3]),
                "layer_norm_eps": draw.choice([1e-12, 1e-12, 1e-6]),
                "hidden_act": draw.choice(["gelu", "gelu", "relu"]),
            },
            "text": {
                **width([1, 2, 3, 4], [7, 8, 10, 12]),
                "ffn_dim": draw.choice([30, 48, 64]),
                "num_hidden_layers": draw.choice([1, 2, 3]),
                "max_position_embeddings": draw.choice([120, 160, 200]),
                "activation_function": draw.choice(["relu", "relu", "gelu"]),
                "do_layer_norm_before": draw.random() < 0.8,
                "enable_bias": draw.random() < 0.8,
                "_remove_final_layer_norm": draw.random() < 0.15,
                "layer_norm_elementwise_affine": draw.random() < 0.9,
            },
            "queries": draw.choice([1, 3, 5, 12, 32]),
            "merges": draw.choice([0, 20, 40, 80]),
            "image_token": image_token,
            "vocab_multiple": draw.choice([1, 16, 64]),
            "dtype": draw.choice(["float32", "float32", "float16", "float16-mixed", "bfloat16"]),
            "shard_bytes": draw.choice([None, None, 40_000, 90_000]),
            "qkv_bias": draw.choice(["joined", "joined", "split", "none"]),
            "head": draw.choice(["embed_tokens", "lm_head", "both"]),
            "config_style": draw.choice(["full", "sparse", "hub"]),
            "processor_style": draw.choice(["hub", "hub", "nested"]),
        },
    )


PICTURE_AND_FILES = (
    *("vision", "queries", "image_token", "vocab_multiple", "dtype", "shard_bytes", "qkv_bias"),
    *("config_style", "processor_style"),
)
# Of a Q-Former that reads text; those of BASE are too small.
TEXT_SIZES = ("vocab_size", "max_position_embeddings")


def random_t5_configuration(seed):
    """As random_configuration, with T5: picture's side and files as there, and the axes of T5."""
    other = random_configuration(seed)
    draw = random.Random(1000 + seed)
    gated = draw.random() < 0.7
    activation = draw.choice(["gelu", "gelu", "relu", "silu", "gelu_new"])
    buckets = draw.choice([8, 9, 10, 16, 32, 64])
    layers = draw.choice([1, 2, 3])
    text = {
        "d_model": draw.choice([20, 24, 32, 33]),
        "d_kv": draw.choice([4, 6, 8, 11]),
        "d_ff": draw.choice([30, 40, 64]),
        "num_heads": draw.choice([1, 2, 3, 4]),
        "num_layers": layers,
        "num_decoder_layers": draw.choice([None, None, 1, max(1, layers - 1), layers, layers + 2]),
        "feed_forward_proj": f"gated-{activation}" if gated else activation,
        "dense_act_fn": draw.choice([None, "gelu", "relu"]),
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": buckets + draw.choice([1, 5, 20, 100]),
        "layer_norm_epsilon": draw.choice([1e-6, 1e-6, 1e-5]),
    }
    leftovers = ["encoder.embed_tokens", "decoder.embed_tokens", "EncDecAttention"]
    return merge(
        T5,
        {
            **{key: other[key] for key in (*PICTURE_AND_FILES, "qformer")},
            "text": text,
            "merges": draw.choice([0, 40, 120]),
            "head": draw.choice(["own", "own", "shared", "lm_head"]),
            "scale": [draw.choice(["4.x", "5.x"]), draw.random() < 0.5],
            "leftovers": [name for name in leftovers if draw.random() < 0.4],
        },
    )


def random_llama_configuration(seed):
    """InstructBLIP with LLaMA: picture's side and files as in random_configuration, and the axes of LLaMA."""
    other = random_configuration(seed)
    draw = random.Random(2000 + seed)
    groups = draw.choice([1, 1, 2, 3])
    heads = groups * draw.choice([1, 1, 2, 3])
    head_dim = draw.choice([4, 6, 8, 16, 24])
    text = {
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([groups, groups, None]),
        "hidden_size": heads * draw.choice([head_dim, head_dim, 7, 10]),
        "head_dim": head_dim,
        "intermediate_size": draw.choice([30, 40, 64]),
        "num_hidden_layers": draw.choice([1, 2, 3]),
        "max_position_embeddings": draw.choice([160, 200, 2048]),
        "hidden_act": draw.choice(["silu", "silu", "silu", "gelu"]),
        "rms_norm_eps": draw.choice([1e-6, 1e-6, 1e-5]),
        "attention_bias": draw.random() < 0.2,
        "mlp_bias": draw.random() < 0.2,
        "pad_token_id": draw.choice([None, None, -1, 0, 2]),
        "bos_token_id": draw.choice([0, 1, 2]),
        "eos_token_id": draw.choice([1, 2, 2, [2, 40]]),
    }
    rope = draw.choice(["5.x", "4.x", None])
    if rope:
        text["rope_theta"] = draw.choice([10_000.0, 500.0, 1_000_000.0])
    return merge(
        LLAMA,
        {
            **{key: other[key] for key in (*PICTURE_AND_FILES, "merges")},
            "qformer": {key: value for key, value in other["qformer"].items() if key not in TEXT_SIZES},
            "text": text,
            "head": draw.choice(["own", "own", "own", "embed_tokens", "both"]),
            "rope": rope,
            "leftovers": [name for name in ("inv_freq", "position_ids") if draw.random() < 0.5],
        },
    )


def random_itm_configuration(seed):
    """As random_configuration, with Blip2ForImageTextRetrieval: picture's side and files as there, and its own axes."""
    other = random_configuration(seed)
    draw = random.Random(2000 + seed)
    same = ("vision", "queries", "image_token", "vocab_multiple", "dtype", "shard_bytes", "qkv_bias", "config_style")
    return merge(
        ITM,
        {
            **{key: other[key] for key in (*same, "processor_style")},
            "vision": {**other["vision"], **({"image_size": 364, "patch_size": 14} if draw.random() < 0.15 else {})},
            "qformer": {**other["qformer"], "max_position_embeddings": draw.choice([24, 40, 77])},
            "merges": draw.choice([0, 30, 90]),
            "embedding_width": draw.choice([1, 5, 7, 16, 33]),
            "leftovers": ["position_ids"] if draw.random() < 0.5 else [],
            "vocabulary_file": other["processor_style"] == "hub" and draw.random() < 0.3,
        },
    )


def random_instruct_t5_configuration(seed):
    """InstructBLIP with the T5 of random_t5_configuration."""
    other = random_t5_configuration(seed)
    draw = random.Random(3000 + seed)
    leftovers = [*other["leftovers"], *(["position_ids"] if draw.random() < 0.5 else [])]
    own = {key: value for key, value in other.items() if key not in ("family", "qformer", "leftovers")}
    qformer = {key: value for key, value in other["qformer"].items() if key not in TEXT_SIZES}
    return merge(INSTRUCT_T5, {**own, "qformer": qformer, "leftovers": leftovers})


def merge(base, differences):
    """Returns a deep copy of `base`, updated with `differences` one level of dictionaries deep."""
    merged = copy.deepcopy(base)
    for key, value in differences.items():
        if key not in base:
            raise KeyError(f"{key} is not a key of a configuration; expected one of {sorted(base)}")
        if isinstance(value, dict):
            merged[key].update(value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
