"""
Makes one tiny random checkpoint: BLIP-2 with OPT, with T5 or for matching, or InstructBLIP with LLaMA or T5.

In:  --config NAME of configurations.py, or --random; --seed N.
Out: a folder in the format of save_pretrained: config.json, generation_config.json, model.safetensors (or shards and an
     index), preprocessor_config.json, processor_config.json and the tokenizer's files.

    python make_checkpoint.py --out /tmp/checkpoint --config plain --seed 1
    python make_checkpoint.py --out /tmp/checkpoint --random --seed 7
    python make_checkpoint.py --list

Biases, LayerNorms, query tokens and position tables are random too, so that a wrong connection changes the answer. Weights
are sampled again until answers vary (see `count_points`).
"""

import argparse
import json
import math
import os
import shutil
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    OPTConfig,
    T5Config,
)
from transformers.utils import logging

from configurations import NAMED, named_configuration, random_configuration
from tokenizer_files import (
    write_bert_tokenizer,
    write_json,
    write_llama_tokenizer,
    write_t5_tokenizer,
    write_tokenizer,
)

logging.disable_progress_bar()

# By language: the embedding, which may be tied.
EMBEDS = {
    "opt": "language_model.model.decoder.embed_tokens.weight",
    "llama": "language_model.model.embed_tokens.weight",
}
HEAD = "language_model.lm_head.weight"
SHARED = "language_model.shared.weight"  # T5's embedding
POSITIONS = "embeddings.position_embeddings.weight"  # of the text that the Q-Former reads
# Releases of transformers before 4 stored it and read another.
UNREAD = "language_model.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"

# Keys that files on the Hub carry and no program reads (Salesforce/blip2-opt-2.7b, config.json).
HUB_NOISE = {
    "vision_config": {"dropout": 0.0, "num_channels": 3, "projection_dim": 512, "initializer_factor": 1.0},
    "qformer_config": {"classifier_dropout": None, "position_embedding_type": "absolute"},
    "text_config": {"activation_dropout": 0.0, "prefix": "</s>", "_name_or_path": "facebook/opt-2.7b"},
}

# Salesforce/blip2-flan-t5-xl; transformers does not apply task_specific_params.
T5_NOISE = {
    "n_positions": 512,
    "output_past": True,
    "task_specific_params": {"summarization": {"num_beams": 4, "max_length": 200, "prefix": "summarize: "}},
}

TEXT_NOISE = {"opt": HUB_NOISE["text_config"], "t5": T5_NOISE, "llama": {"max_sequence_length": 2048, "pretraining_tp": 1}}

WRITERS = {"opt": write_tokenizer, "t5": write_t5_tokenizer, "llama": write_llama_tokenizer}
TEXT_CONFIGS = {"opt": OPTConfig, "t5": T5Config, "llama": LlamaConfig}
# By family: the classes of the model, its configuration and that of its parts, and what processors are called.
FAMILIES = {
    "blip-2": (Blip2ForConditionalGeneration, Blip2Config, Blip2VisionConfig, Blip2QFormerConfig, "Blip2Processor"),
    "instructblip": (
        InstructBlipForConditionalGeneration,
        InstructBlipConfig,
        InstructBlipVisionConfig,
        InstructBlipQFormerConfig,
        "InstructBlipProcessor",
    ),
}
QFORMER_WORDS = 40
# Ids that Q-Former reads while weights are drawn: [CLS], a text, [SEP].
QFORMER_PROMPT = [2, 60, 9, 71, 3]

ATTEMPTS = 30
MOST_POINTS = 4


def make_checkpoint(folder, configuration, seed):
    """Writes the checkpoint; returns its configuration as transformers sees it."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if configuration["language"] == "none":
        ids = write_bert_tokenizer(
            folder, configuration["merges"], configuration["image_token"], configuration["vocabulary_file"]
        )
    else:
        ids = WRITERS[configuration["language"]](folder, configuration["merges"], configuration["image_token"])
    if configuration["family"] == "instructblip":
        (folder / "qformer_tokenizer").mkdir()
        ids["qformer"] = write_bert_tokenizer(folder / "qformer_tokenizer", QFORMER_WORDS, False)["size"]
    config = build_config(configuration, ids)
    model = build_lively_model(config, seed, configuration, real_tokens=ids["size"])
    cast(model, configuration["dtype"])
    if (model.generation_config.pad_token_id or 0) < 0:
        model.generation_config.pad_token_id = None  # config.json may have -1, this file not
    model.save_pretrained(folder, max_shard_size=configuration["shard_bytes"] or "50GB")
    rewrite_weights(folder, configuration, seed)
    write_config(folder, configuration)
    write_processor(folder, configuration)
    for file in folder.rglob("*.*"):
        file.chmod(0o644)  # safetensors writes files that only their owner can read
    return config


def build_config(configuration, ids):
    vocab_size = math.ceil(ids["size"] / configuration["vocab_multiple"]) * configuration["vocab_multiple"]
    vision = {**configuration["vision"], "qkv_bias": configuration["qkv_bias"] != "none"}
    if configuration["language"] == "none":
        return Blip2Config(
            vision_config=vision,
            qformer_config={**configuration["qformer"], "vocab_size": vocab_size},
            num_query_tokens=configuration["queries"],
            image_text_hidden_size=configuration["embedding_width"],
            image_token_index=ids["image"],
        )
    if configuration["language"] == "t5":
        text = {name: value for name, value in configuration["text"].items() if value is not None}
        text |= {"decoder_start_token_id": 0, "bos_token_id": 1, "scale_decoder_outputs": configuration["scale"][1]}
    elif configuration["language"] == "llama":
        padding = ids["size"] - 1 - configuration["image_token"]
        tied = configuration["head"] != "own"
        text = {"pad_token_id": padding, "tie_word_embeddings": tied, **configuration["text"]}
    else:
        text = {"eos_token_id": ids["newline"], **configuration["text"]}
    text = {**text, "vocab_size": vocab_size, "model_type": configuration["language"]}
    _, Config, *_ = FAMILIES[configuration["family"]]
    return Config(
        vision_config=vision,
        qformer_config={**configuration["qformer"], **({"vocab_size": ids["qformer"]} if "qformer" in ids else {})},
        text_config=text,
        num_query_tokens=configuration["queries"],
        image_token_index=ids["image"],
    )


def build_lively_model(config, seed, configuration, real_tokens):
    """Samples weights until the answers of the model vary. The same `seed` gives the same weights."""
    liveliness = configuration["liveliness"]
    if configuration["language"] == "none":
        model = Blip2ForImageTextRetrieval(config).eval()
        draw_weights(model, torch.Generator().manual_seed(seed * 1000), liveliness, real_tokens)
        return model
    Model, *_ = FAMILIES[configuration["family"]]
    model = Model(config).eval()
    if configuration["language"] == "t5" and configuration["head"] == "own":
        untie_head(model)
    best, best_points = 0, -1
    for attempt in range(ATTEMPTS):
        points = draw_model(model, seed, attempt, liveliness, real_tokens)
        if points > best_points:
            best, best_points = attempt, points
        if points == MOST_POINTS:
            return model
    draw_model(model, seed, best, liveliness, real_tokens)
    print(f"seed {seed}: liveliness {best_points} of {MOST_POINTS} is the best of {ATTEMPTS} drawings")
    return model


def untie_head(model):
    """
    Gives T5 an LM head of its own. transformers 5 ties it whatever the configuration says, and leaves tied tensors out of
    the file.
    """
    head = model.language_model.lm_head
    head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
    for part in (model, model.language_model):
        part.all_tied_weights_keys = {
            name: source for name, source in part.all_tied_weights_keys.items() if not name.endswith("lm_head.weight")
        }


def draw_model(model, seed, attempt, liveliness, real_tokens):
    """Fills `model` with the weights of one attempt; returns their points."""
    config = model.config
    generator = torch.Generator().manual_seed(seed * 1000 + attempt)
    draw_weights(model, generator, liveliness * (1 + 0.05 * (attempt % 10)), real_tokens)
    text = config.text_config
    if text.model_type == "opt" and text.hidden_size != text.word_embed_proj_dim:
        return MOST_POINTS  # cannot be run
    place_end(model, config, generator)
    return count_points(model, config)


@torch.no_grad()
def draw_weights(model, generator, liveliness, real_tokens):
    def normal(parameter, deviation, mean=0.0):
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation + mean)

    for name, parameter in model.named_parameters():
        kind = name.rsplit(".", 2)[-2:]
        if "norm" in kind[0].lower():
            normal(parameter, 0.25, mean=1.0 if kind[1] == "weight" else 0.0)
        elif name in (*EMBEDS.values(), SHARED, HEAD):
            normal(parameter, 0.6)
            # Ids that the tokenizer cannot produce, `<image>` among them: as resize_token_embeddings makes them, near
            # the mean of all others.
            first = model.config.image_token_index
            first = real_tokens if first is None else first
            unreal = parameter[first:]
            unreal.copy_(parameter[:first].mean(0) + 0.02 * torch.randn(unreal.shape, generator=generator))
        elif name.endswith("word_embeddings.weight"):
            normal(parameter, 1.0)
        elif name.endswith(("embed_positions.weight", "position_embeddings.weight")):
            normal(parameter, 0.3)
        elif name.endswith("relative_attention_bias.weight"):
            normal(parameter, 0.7)
        elif name.endswith(("query_tokens", "class_embedding")):
            normal(parameter, 1.0)
        elif name.endswith("position_embedding"):
            normal(parameter, 0.5)
        elif name.endswith("bias"):
            normal(parameter, 0.2)
        else:
            fan_in = parameter[0].numel()
            # The language model's own layers must outweigh the residual, or tied weights repeat the last token.
            gain = 2.5 if name.startswith("language_model") else 1.5
            if name.endswith("Attention.q.weight"):
                gain /= 2.5 * math.sqrt(model.config.text_config.d_kv)  # T5 does not scale its scores
            normal(parameter, gain * liveliness / math.sqrt(fan_in))
    if model.config.vision_config.qkv_bias:
        width = model.config.vision_config.hidden_size
        for layer in model.vision_model.encoder.layers:
            layer.self_attn.qkv.bias[width : 2 * width] = 0  # the format: keys have no bias


@torch.no_grad()
def place_end(model, config, generator):
    """Copies to the end token the row of a token that is rare in answers and never first, so that some answers end."""
    answers = probe(model, config, length=8)
    tokens = [token for answer in answers for token in answer]
    late = {token for answer in answers for token in answer[2:]} - {answer[0] for answer in answers}
    token = min(sorted(late or tokens), key=tokens.count)
    embed = model.language_model.get_output_embeddings().weight
    noise = torch.randn(embed.shape[1], generator=generator) * 0.05
    embed[end_of(config)] = embed[token] * 1.05 + noise


def end_of(config):
    """Returns the (first) end token."""
    ends = config.text_config.eos_token_id
    return ends[0] if isinstance(ends, list) else ends


def count_points(model, config):
    """One point each: answers differ; they have several tokens; some, not all, end; none is empty."""
    answers = probe(model, config, length=10)
    end = end_of(config)
    ended = sum(end in answer for answer in answers)
    return (
        (len({tuple(answer) for answer in answers}) >= len(answers) - 1)
        + (sum(len(set(answer)) >= 5 for answer in answers) >= len(answers) - 1)
        + (1 <= ended < len(answers))
        + all(answer[0] != end for answer in answers)
    )


@torch.no_grad()
def probe(model, config, length):
    """Greedy ids, without stopping, for two pictures and two prompts."""
    side = config.vision_config.image_size
    ramp = torch.linspace(-1.5, 1.5, side)
    waves = torch.stack([ramp.sin()[:, None] * (3 * ramp).cos()[None, :] * scale for scale in (2.0, -1.0, 0.5)])
    stripes = torch.stack([(ramp * scale).cos()[None, :].expand(side, side) for scale in (9.0, 5.0, 2.0)])
    more = {"qformer_input_ids": torch.tensor([QFORMER_PROMPT] * 2)} if config.model_type == "instructblip" else {}
    prefixes = model.get_image_features(torch.stack([waves, stripes]), **more).pooler_output  # [2, Q, D]
    embed = model.language_model.get_input_embeddings()
    has_encoder = model.language_model.config.is_encoder_decoder
    answers = []
    for prefix in prefixes:
        for prompt in ([1], [85, 41, 95, 60, 99, 30, 1]) if has_encoder else ([2], [2, 85, 121, 105, 119, 120, 30]):
            embeds = torch.cat([prefix[None], embed(torch.tensor([prompt]))], dim=1)
            answer = []
            for _ in range(length):
                more = {"decoder_input_ids": torch.tensor([[0, *answer]])} if has_encoder else {}
                logits = model.language_model(inputs_embeds=embeds, **more).logits[0, -1]
                answer.append(int(logits.argmax()))
                if not has_encoder:
                    embeds = torch.cat([embeds, embed(torch.tensor([[answer[-1]]]))], dim=1)
            answers.append(answer)
    return answers


def cast(model, dtype):
    if dtype == "float16-mixed":
        model.half()
        if model.config.model_type == "blip-2":
            model.qformer.float()
        model.query_tokens.data = model.query_tokens.data.float()
        for name, parameter in model.named_parameters():
            if name.endswith("DenseReluDense.wo.weight"):
                parameter.data = parameter.data.float()  # T5 keeps it in float32
        model.config.dtype = torch.float16
    else:
        model.to(getattr(torch, dtype))
        model.config.dtype = getattr(torch, dtype)


def rewrite_weights(folder, configuration, seed):
    """Renames and splits tensors inside the files of save_pretrained, and updates the index."""
    files = sorted(folder.glob("*.safetensors"))
    owner = {}
    for file in files:
        tensors = load_file(file)
        if configuration["qkv_bias"] == "split":
            for name in [name for name in tensors if name.endswith("self_attn.qkv.bias")]:
                query, _, value = tensors.pop(name).chunk(3)
                tensors[name.replace("qkv.bias", "q_bias")] = query.clone()
                tensors[name.replace("qkv.bias", "v_bias")] = value.clone()
        if SHARED in tensors:
            add_leftovers(tensors, configuration)
        if "query_tokens" in tensors:
            add_buffers(tensors, configuration)
        if POSITIONS in tensors and "position_ids" in configuration["leftovers"]:
            tensors["embeddings.position_ids"] = torch.arange(len(tensors[POSITIONS]))[None]
        embed = EMBEDS.get(configuration["language"])
        if configuration["head"] in ("lm_head", "both") and embed in tensors:
            tensors[HEAD] = tensors[embed].clone()
            if configuration["head"] == "lm_head":
                del tensors[embed]
        save_file(tensors, file, metadata={"format": "pt"})
        owner.update({name: (file.name, tensor) for name, tensor in tensors.items()})
    if len(files) > 1:
        index = folder / "model.safetensors.index.json"
        metadata = json.loads(index.read_text())["metadata"]
        metadata["total_size"] = sum(tensor.nbytes for _, tensor in owner.values())
        write_json(index, {"metadata": metadata, "weight_map": {name: owner[name][0] for name in sorted(owner)}})


def add_leftovers(tensors, configuration):
    """Adds what older files of T5 have besides; names the tied matrix as `head` says."""
    shared = tensors[SHARED]
    for name in configuration["leftovers"]:
        if name == "EncDecAttention":
            text = configuration["text"]
            tensors[UNREAD] = torch.ones(text["relative_attention_num_buckets"], text["num_heads"], dtype=shared.dtype)
        elif name != "position_ids":
            tensors[f"language_model.{name}.weight"] = shared.clone()
    if configuration["head"] == "lm_head":
        tensors[HEAD] = tensors.pop(SHARED)


def add_buffers(tensors, configuration):
    """Adds the buffers that InstructBLIP's files of 2023 have."""
    if "position_ids" in configuration["leftovers"]:
        positions = torch.arange(configuration["qformer"]["max_position_embeddings"])
        tensors["qformer.embeddings.position_ids"] = positions[None]
    if "inv_freq" in configuration["leftovers"]:
        for layer in range(configuration["text"]["num_hidden_layers"]):
            # Other values than the model's, so that reading them changes the answer.
            tensors[f"language_model.model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)


def write_rope(text, rope):
    """Says the rotary settings as files of transformers 5 or 4 do, or not at all."""
    if rope == "5.x":
        return
    theta = text.pop("rope_parameters")["rope_theta"]
    if rope == "4.x":
        text.update({"rope_theta": theta, "rope_scaling": None})


def write_config(folder, configuration):
    """Keeps config.json, or removes keys that files on the Hub leave out."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if configuration["language"] == "t5" and configuration["scale"][0] == "4.x":
        del config["text_config"]["scale_decoder_outputs"]
        config["text_config"]["tie_word_embeddings"] = configuration["scale"][1]
        write_json(path, config)
    if configuration["language"] == "llama":
        write_rope(config["text_config"], configuration["rope"])
        write_json(path, config)
    if configuration["config_style"] == "full":
        return
    _, Config, VisionConfig, QFormerConfig, _ = FAMILIES[configuration["family"]]
    for part, defaults in (
        ("vision_config", VisionConfig()),
        ("qformer_config", QFormerConfig()),
        ("text_config", TEXT_CONFIGS[configuration["language"]]()),
    ):
        defaults = defaults.to_dict()
        if "word_embed_proj_dim" in config[part] and config[part]["word_embed_proj_dim"] == config[part]["hidden_size"]:
            del config[part]["word_embed_proj_dim"]
        config[part] = {
            key: value
            for key, value in config[part].items()
            if key == "model_type" or key not in defaults or defaults[key] != value
        }
        if part == "qformer_config":
            config[part].pop("encoder_hidden_size", None)  # always overwritten by the vision model's width
        if configuration["config_style"] == "hub":
            noise = HUB_NOISE[part] if part != "text_config" else TEXT_NOISE[configuration["language"]]
            config[part].update(noise)
    defaults = Config().to_dict()
    parts = ("vision_config", "qformer_config", "text_config")
    keep = {*parts, "architectures", "model_type", "use_decoder_only_language_model"}
    config = {key: value for key, value in config.items() if key in keep or defaults.get(key, ...) != value}
    write_json(path, config)


def write_processor(folder, configuration):
    side = configuration["vision"]["image_size"]
    image_processor = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": configuration["image_mean"],
        "image_processor_type": "BlipImageProcessor",
        "image_std": configuration["image_std"],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }
    *_, processor_class = FAMILIES[configuration["family"]]
    processor = {"num_query_tokens": configuration["queries"], "processor_class": processor_class}
    if configuration["processor_style"] == "nested":
        processor = {"image_processor": image_processor, **processor}
        for name in ("vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json", "added_tokens.json"):
            (folder / name).unlink(missing_ok=True)
        path = folder / "tokenizer_config.json"
        tokenizer = json.loads(path.read_text())
        if configuration["language"] != "llama":
            tokenizer.pop("add_bos_token", None)  # in tokenizer.json only
        tokenizer.pop("added_tokens_decoder", None)  # in tokenizer.json only
        write_json(path, {"backend": "tokenizers", **tokenizer})
    else:
        write_json(folder / "preprocessor_config.json", {**image_processor, "processor_class": processor_class})
    write_json(folder / "processor_config.json", processor)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", choices=NAMED, metavar="NAME", default="base")
    parser.add_argument("--random", action="store_true", help="draw the configuration from the seed too")
    parser.add_argument("--list", action="store_true", help="print the names of the configurations")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(NAMED))
        return
    if arguments.out is None:
        parser.error("--out DIR is required")
    torch.set_num_threads(1)
    if arguments.random:
        name, configuration = "random", random_configuration(arguments.seed)
    else:
        name, configuration = arguments.config, named_configuration(arguments.config)
    make_checkpoint(arguments.out, configuration, arguments.seed)
    size = sum(file.stat().st_size for file in arguments.out.iterdir())
    print(f"{arguments.out}: {name}, seed {arguments.seed}, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
