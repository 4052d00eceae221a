"""
Records what transformers computes with one BLIP-2 checkpoint.

In:  a checkpoint folder, pictures, prompts, settings of `generate`, batches.
Out: one .safetensors file. N pictures, S image side, P vision positions, W vision width, Q queries, H Q-Former width,
     D width of the language model, T prompt tokens, V vocabulary, R returned sequences, L longest answer, B batch rows:

       pixel_values [N,3,S,S]   output of the PIL image processor
       vision       [N,P,W]     vision model after post_layernorm
       queries      [N,Q,H]     Q-Former
       prefix       [N,Q,D]     language_projection(queries)
       logits.K     [Q+T,V]     all positions; which picture and prompt: description.logits[K]
       token_ids.K  [R,L]       int64, generated ids only, padded with pad_token_id: description.token_ids[K]
       probs.K      [V]         first step of sampling, after all processors: description.probs[K]
       batch_logits.K    [B,V]  last position of left-padded prompts run together: description.batches[K]
       batch_token_ids.K [B,L]  int64, greedy unless its settings say otherwise

     The file's metadata has `description`, JSON with everything needed to repeat each number.

    python record.py CHECKPOINT --pictures a.png b.png --prompts "" "Question: what is it? Answer:" \
        --settings settings.json --batch 0:1,1:0 --out reference.safetensors

All weights are cast to float32 first; attention is "eager".
"""

import argparse
import json
import os
import warnings
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import PIL
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Blip2Config, Blip2ForConditionalGeneration, GPT2Tokenizer
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

warnings.filterwarnings("ignore", message="Using the model-agnostic default")

EMBED = "language_model.model.decoder.embed_tokens.weight"
HEAD = "language_model.lm_head.weight"
SETTINGS = Path(__file__).parent / "settings.json"


def record(checkpoint, pictures, prompts, settings, batches):
    """Returns (tensors, description). `settings`: name -> arguments of generate. `batches`: [[(picture, prompt)]]."""
    checkpoint = Path(checkpoint)
    model = load_model(checkpoint)
    tokenizer = GPT2Tokenizer.from_pretrained(checkpoint)
    pixel_values = load_pixels(checkpoint, pictures)
    prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    description = {
        "checkpoint": checkpoint.name,
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__, "pillow": PIL.__version__},
        "pictures": [Path(picture).name for picture in pictures],
        "prompts": prompts,
        "input_ids": prompt_ids,  # without the `<image>` placeholders
        "settings": settings,
        "pad_token_id": model.config.text_config.pad_token_id,
        "eos_token_id": model.config.text_config.eos_token_id,
        "logits": [],
        "token_ids": [],
        "probs": [],
        "batches": [],
    }
    tensors = {"pixel_values": pixel_values, **run_image(model, pixel_values)}

    for prompt, ids in enumerate(prompt_ids):
        picture = prompt % len(pictures)
        inputs = build_inputs(model, pixel_values[[picture]], torch.tensor([ids]))
        tensors[f"logits.{prompt}"] = run_logits(model, inputs)[0]
        description["logits"].append({"picture": picture, "prompt": prompt})

    for name, arguments in settings.items():
        for picture in range(len(pictures)):
            for prompt, ids in enumerate(prompt_ids):
                case = {"picture": picture, "prompt": prompt, "settings": name}
                inputs = build_inputs(model, pixel_values[[picture]], torch.tensor([ids]))
                kind = "probs" if arguments.get("do_sample") else "token_ids"
                key = f"{kind}.{len(description[kind])}"
                if kind == "probs":
                    tensors[key] = run_first_step(model, inputs, arguments)
                else:
                    tensors[key], notes = run_generate(model, inputs, arguments)
                    case.update(notes)
                description[kind].append(case)

    for number, rows in enumerate(batches):
        tokenizer.padding_side = "left"
        padded = tokenizer([prompts[prompt] for _, prompt in rows], padding=True, return_tensors="pt")
        pixels = pixel_values[[picture for picture, _ in rows]]
        inputs = build_inputs(model, pixels, padded["input_ids"], padded["attention_mask"])
        arguments = {"max_new_tokens": 10}
        tensors[f"batch_logits.{number}"] = run_logits(model, inputs)[:, -1]
        tensors[f"batch_token_ids.{number}"], _ = run_generate(model, inputs, arguments)
        cases = [{"picture": picture, "prompt": prompt} for picture, prompt in rows]
        description["batches"].append({"cases": cases, "arguments": arguments})
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, description


def load_model(checkpoint):
    """Returns the model in float32 with eager attention, from any layout of BLIP-2 files so far."""
    checkpoint = Path(checkpoint)
    config = Blip2Config.from_pretrained(checkpoint)
    for part in (config, config.vision_config, config.qformer_config, config.text_config):
        part.dtype = torch.float32
    config._attn_implementation = "eager"
    weights = {}
    for file in weight_files(checkpoint):
        weights.update({name: tensor.float() for name, tensor in load_file(checkpoint / file).items()})
    for name in [name for name in weights if name.endswith("self_attn.q_bias")]:
        query, value = weights.pop(name), weights.pop(name.replace("q_bias", "v_bias"))
        weights[name.replace("q_bias", "qkv.bias")] = torch.cat([query, torch.zeros_like(query), value])
    if EMBED not in weights:
        weights[EMBED] = weights[HEAD]
    weights.setdefault(HEAD, weights[EMBED])
    if not torch.equal(weights[HEAD], weights[EMBED]):
        # As in from_pretrained: tables that differ are not tied, even if the config says so.
        config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    model = Blip2ForConditionalGeneration(config).eval()
    model.load_state_dict(weights, strict=True)
    model.tie_weights()
    parts = (config, config.vision_config, config.qformer_config, model.language_model.config)
    assert all(part._attn_implementation == "eager" for part in parts)
    return model


def weight_files(checkpoint):
    """As in from_pretrained: model.safetensors, or else the shards of the index; other files are ignored."""
    if (checkpoint / "model.safetensors").exists():
        return ["model.safetensors"]
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text())
    return sorted(set(index["weight_map"].values()))


def load_pixels(checkpoint, pictures):
    config = None
    if (checkpoint / "processor_config.json").exists():
        config = json.loads((checkpoint / "processor_config.json").read_text()).get("image_processor")
    if config is None:
        config = json.loads((checkpoint / "preprocessor_config.json").read_text())
    config.pop("image_processor_type", None)
    config.pop("processor_class", None)
    images = [Image.open(picture) for picture in pictures]
    return BlipImageProcessorPil(**config)(images, return_tensors="pt")["pixel_values"]


@torch.no_grad()
def run_image(model, pixel_values):
    outputs = model.get_image_features(pixel_values)
    return {
        "vision": outputs.last_hidden_state,
        "queries": outputs.qformer_outputs.last_hidden_state,
        "prefix": outputs.pooler_output,
    }


@torch.no_grad()
def build_inputs(model, pixel_values, ids, mask=None):
    """
    What Blip2ForConditionalGeneration.generate hands to its language model: queries, then (padded) prompt.

    Checkpoints without image_token_index cannot be run by transformers 5 (README, finding 2); for them the same three
    inputs are made here, with input_ids that hold the prompt only.
    """
    mask = torch.ones_like(ids) if mask is None else mask
    prefix = model.get_image_features(pixel_values).pooler_output
    embeds = torch.cat([prefix, model.get_input_embeddings()(ids)], dim=1)
    mask = torch.cat([mask.new_ones(prefix.shape[:2]), mask], dim=1)
    if model.config.image_token_index is not None:
        placeholders = ids.new_full(prefix.shape[:2], model.config.image_token_index)
        ids = torch.cat([placeholders, ids], dim=1)
    return {"pixel_values": pixel_values, "input_ids": ids, "inputs_embeds": embeds, "attention_mask": mask}


@torch.no_grad()
def run_logits(model, inputs):
    if model.config.image_token_index is not None:
        keys = ("pixel_values", "input_ids", "attention_mask")
        return model(**{key: inputs[key] for key in keys}).logits
    keys = ("inputs_embeds", "attention_mask")
    return model.language_model(**{key: inputs[key] for key in keys}).logits


@torch.no_grad()
def generate(model, inputs, arguments):
    arguments = {**arguments, "return_dict_in_generate": True, "output_scores": True}
    if model.config.image_token_index is not None:
        keys = ("pixel_values", "input_ids", "attention_mask")
        return model.generate(**{key: inputs[key] for key in keys}, **arguments)
    keys = ("inputs_embeds", "input_ids", "attention_mask")
    if "min_length" in arguments and arguments.get("min_new_tokens") is None:
        # Without placeholders in input_ids, lengths would count differently than for other checkpoints.
        row = inputs["inputs_embeds"].shape[1]
        arguments["min_new_tokens"] = max(0, arguments.pop("min_length") - row)
    arguments.pop("min_length", None)
    return model.language_model.generate(**{key: inputs[key] for key in keys}, **arguments)


def run_generate(model, inputs, arguments):
    """Returns the generated ids [R,L], with the smallest gap between best and second score, or the beam scores."""
    output = generate(model, inputs, arguments)
    ids = output.sequences[:, inputs["input_ids"].shape[1] :]
    if arguments.get("num_beams", 1) > 1:
        notes = {"beam_scores": [round(score, 5) for score in output.sequences_scores.tolist()]}
    else:
        best = torch.stack(output.scores, dim=1).topk(2, dim=-1).values
        notes = {"smallest_gap": round(float((best[..., 0] - best[..., 1]).min()), 5)}
    return ids, notes


def run_first_step(model, inputs, arguments):
    """Returns the probabilities [V] of the first sampled token."""
    at_least = min(1, arguments.get("min_new_tokens", 0))  # more than max_new_tokens would only warn
    output = generate(model, inputs, {**arguments, "max_new_tokens": 1, "min_new_tokens": at_least})
    return output.scores[0][0].softmax(dim=-1)


def save(path, tensors, description):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"description": json.dumps(description, ensure_ascii=False)})
    os.chmod(path, 0o644)


def parse_batch(text):
    """Rows of picture number : prompt number: 0:1,1:0 -> [(0, 1), (1, 0)]."""
    return [tuple(int(number) for number in row.split(":")) for row in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True)
    parser.add_argument("--prompts", nargs="+", default=[""])
    parser.add_argument("--settings", default=str(SETTINGS), help="JSON (an object of objects), or a file of it")
    parser.add_argument("--batch", type=parse_batch, action="append", default=[], metavar="PICTURE:PROMPT,...")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = arguments.settings if arguments.settings.lstrip().startswith("{") else Path(arguments.settings).read_text()
    inputs = (arguments.checkpoint, arguments.pictures, arguments.prompts, json.loads(text), arguments.batch)
    tensors, description = record(*inputs)
    save(arguments.out, tensors, description)
    print(f"{arguments.out}: {len(tensors)} tensors, {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
