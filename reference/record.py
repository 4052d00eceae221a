"""
Records what transformers computes with one BLIP-2 checkpoint for one picture and one text, for `glimpse verify`.

In:  a checkpoint folder, a picture, a prompt (or a text to match), arguments of `generate`, a kind.
Out: one .safetensors file of float32 tensors and int64 ids. P vision positions, v their width, Q queries, q Q-Former
     width, d width of the language model, L prompt tokens, V vocabulary, n generated tokens, T tokens of the Q-Former's
     text, e width of the embeddings that ITC compares:

     all kinds    pixel_values [1,3,H,W]   vision [1,P,v] (after post_layernorm)   queries [1,Q,q]
     generate     prefix [1,Q,d]   input_ids [1,L] (no placeholders)   token_ids [n] (generated only), or [R,n] with
                  num_return_sequences R, padded with pad_token_id; none if do_sample
       OPT, LLaMA logits [1,Q+L,V] of every position of the prompt
       T5         encoder [1,Q+L,d]   decoder_ids [1,n] (start token first, last token left out)   logits [1,n,V]
       InstructBLIP  qformer_ids [1,T] besides
     itm          text_ids [1,T]   text_hidden [1,T,q] (text alone)   multimodal [1,Q,q] (queries with picture and text)
                  itm_logits [1,2] (index 1: match)   itc [1,1]   image_embeds [1,Q,e]   text_embeds [1,e] (first token)
                  text_embeds_all [1,T,e]
     features     pooled [1,v]   input_ids [1,L]   text_features [1,L,d]
     matrix       only itm_logits [I,T,2] and itc [I,T]: I pictures by T texts

     Metadata, all strings: kind, image (file name), prompt, generation (JSON), text (the answer), checkpoint, versions,
     smallest_gap (greedy: the smallest distance of the best score from the second); of a matrix images, texts (JSON).

    python record.py CHECKPOINT --picture a.png --prompt "Question: what is it? Answer:" --out a.safetensors
    python record.py CHECKPOINT --picture a.png --generation '{"num_beams": 3}' --out a.safetensors
    python record.py CHECKPOINT --picture a.png b.png --prompt "" "a photo of" --out folder    one file for each pair
    python record.py CHECKPOINT --kind matrix --picture a.png b.png --prompt "a cat" "a dog" --out matrix.safetensors

All weights are cast to float32 first; attention is "eager". Each picture and text runs alone, without padding. Ids are
made here: `<image>` placeholders stand in front exactly where the class wants them (README, finding 15).
"""

import argparse
import itertools
import json
import os
import re
import warnings
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import PIL
import safetensors.torch
import torch
import transformers
from PIL import Image
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2Model,
    InstructBlipForConditionalGeneration,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore", message="Using the model-agnostic default")

KINDS = ("generate", "itm", "matrix", "features")
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__, "pillow": PIL.__version__}

# Tensors that files of older releases carry and transformers ignores.
IGNORED = re.compile(r"(^|\.)position_ids$|\.rotary_emb\.inv_freq$|\.EncDecAttention\.relative_attention_bias\.weight$")


class Recorder:
    """A checkpoint, ready to record references of one kind (default: what its class is for)."""

    def __init__(self, checkpoint, kind=None):
        self.checkpoint = Path(checkpoint)
        self.kind = kind or default_kind(self.checkpoint)
        self.model = load_model(self.checkpoint, self.kind)
        self.tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)
        if self.model.config.model_type == "instructblip":
            self.qformer_tokenizer = AutoTokenizer.from_pretrained(self.checkpoint / "qformer_tokenizer")

    def record(self, picture, prompt, generation=None, stages=True):
        """Returns (tensors, metadata). Without `stages`: only the ids that `generate` was given and gave."""
        pixels = load_pixels(self.checkpoint, picture)
        if self.kind == "generate":
            tensors, notes = self.generate(pixels, prompt, generation or {})
        else:
            tensors, notes = (self.itm if self.kind == "itm" else self.features)(pixels, prompt), {}
        if not stages:
            tensors = {name: tensors[name] for name in ("input_ids", "token_ids", "qformer_ids") if name in tensors}
        return tensors, {**self.metadata(), "image": Path(picture).name, "prompt": prompt, **notes}

    def metadata(self):
        return {"kind": self.kind, "checkpoint": self.checkpoint.name, "versions": json.dumps(VERSIONS)}

    def generate(self, pixels, prompt, generation):
        inputs = self.inputs(pixels, prompt)
        tensors = {"pixel_values": pixels, **run_image(self.model, inputs), "input_ids": self.ids(prompt)}
        notes = {"generation": json.dumps(generation)}
        if "qformer_input_ids" in inputs:
            tensors["qformer_ids"] = inputs["qformer_input_ids"]
        text = self.model.config.text_config
        has_encoder = self.model.language_model.config.is_encoder_decoder
        if generation.get("do_sample") or not can_generate(text):
            # Any ids do, as none are generated.
            decoder_ids = torch.tensor([[text.decoder_start_token_id, 5, 9, 9, 4]]) if has_encoder else None
        else:
            sequences, ids, gap = run_generate(self.model, inputs, generation)
            tensors["token_ids"] = ids if len(ids) > 1 else ids[0]
            real = ids[0][ids[0] >= 0]  # a pad_token_id of -1 pads with -1
            notes["text"] = self.tokenizer.decode(real, skip_special_tokens=True).strip()
            decoder_ids = sequences[:1, :-1] if has_encoder else None
            if gap is not None:
                notes["smallest_gap"] = f"{gap:.5f}"
        tensors.update(run_language(self.model, inputs, decoder_ids))
        return tensors, notes

    def inputs(self, pixels, prompt):
        more = {}
        if self.model.config.model_type == "instructblip":
            more["qformer_input_ids"] = self.qformer_tokenizer(prompt, return_tensors="pt")["input_ids"]
        return build_inputs(self.model, pixels, self.ids(prompt), **more)

    def ids(self, text):
        """Returns [1,L] without placeholders."""
        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        if self.model.config.image_token_index in ids[0].tolist():
            raise SystemExit(f"Expected a text without the image placeholder but got {text!r}. Take it out.")
        return ids

    @torch.no_grad()
    def itm(self, pixels, text):
        model, ids = self.model, self.ids(text)
        vision = model.vision_model(pixels).last_hidden_state
        picture = {"encoder_hidden_states": vision}
        hidden = model.qformer(query_embeds=model.embeddings(ids), query_length=0).last_hidden_state
        matching, contrast = self.match(pixels, ids, True), self.match(pixels, ids, False)
        tensors = {
            "pixel_values": pixels,
            "vision": vision,
            "queries": model.qformer(query_embeds=model.query_tokens, **picture).last_hidden_state,
            "text_ids": ids,
            "text_hidden": hidden,
            "multimodal": matching.text_embeds[:, : model.config.num_query_tokens],
            "itm_logits": matching.logits_per_image,
            "itc": contrast.logits_per_image,
            "image_embeds": contrast.image_embeds,
            "text_embeds": contrast.text_embeds,
            # as Blip2TextModelWithProjection
            "text_embeds_all": torch.nn.functional.normalize(model.text_projection(hidden), dim=-1),
        }
        assert torch.allclose(tensors["text_embeds_all"][:, 0], tensors["text_embeds"], atol=1e-6)
        return tensors

    def match(self, pixels, ids, use_head):
        """One picture, one text. The class takes placeholders away if, and only if, it has an image_token_index."""
        if self.model.config.image_token_index is not None:
            shape = (1, self.model.config.num_query_tokens)
            ids = torch.cat([ids.new_full(shape, self.model.config.image_token_index), ids], dim=1)
        return self.model(pixels, ids, torch.ones_like(ids), use_image_text_matching_head=use_head)

    @torch.no_grad()
    def matrix(self, pictures, texts):
        """Returns (tensors, metadata) of all pictures by all texts."""
        rows = [load_pixels(self.checkpoint, picture) for picture in pictures]
        scores = {}
        for name, use_head in (("itm_logits", True), ("itc", False)):
            cells = [[self.match(row, self.ids(text), use_head).logits_per_image[0] for text in texts] for row in rows]
            scores[name] = torch.stack([torch.stack(row) for row in cells])  # [I,T,2], [I,T,1]
        scores["itc"] = scores["itc"][..., 0]
        images = [Path(picture).name for picture in pictures]
        return scores, {**self.metadata(), "kind": "matrix", "images": json.dumps(images), "texts": json.dumps(texts)}

    @torch.no_grad()
    def features(self, pixels, prompt):
        vision, ids = self.model.get_image_features(pixels), self.ids(prompt)
        return {
            "pixel_values": pixels,
            "vision": vision.last_hidden_state,
            "pooled": vision.pooler_output,
            "queries": self.model.get_qformer_features(pixels),
            "input_ids": ids,
            "text_features": self.model.get_text_features(ids, torch.ones_like(ids)).last_hidden_state,
        }


def can_generate(text_config):
    """With more blocks in the decoder than in the encoder, generate() fails: it sizes the cache by the encoder's."""
    return not text_config.is_encoder_decoder or text_config.num_decoder_layers <= text_config.num_layers


def default_kind(checkpoint):
    names = json.loads((checkpoint / "config.json").read_text()).get("architectures") or []
    return "itm" if "Blip2ForImageTextRetrieval" in names else "generate"


def load_model(checkpoint, kind="generate"):
    """Returns the model in float32 with eager attention, from any layout of its class's files so far."""
    checkpoint = Path(checkpoint)
    config = AutoConfig.from_pretrained(checkpoint)
    kind_class = {
        "generate": Blip2ForConditionalGeneration,
        "itm": Blip2ForImageTextRetrieval,
        "matrix": Blip2ForImageTextRetrieval,
        "features": Blip2Model,
    }[kind]
    if config.model_type == "instructblip":
        kind_class = InstructBlipForConditionalGeneration
    weights = {}
    for file in weight_files(checkpoint):
        loaded = safetensors.torch.load_file(checkpoint / file)
        weights.update({name: tensor.float() for name, tensor in loaded.items()})
    for name in [name for name in weights if name.endswith("self_attn.q_bias")]:
        query, value = weights.pop(name), weights.pop(name.replace("q_bias", "v_bias"))
        weights[name.replace("q_bias", "qkv.bias")] = torch.cat([query, torch.zeros_like(query), value])
    model, report = kind_class.from_pretrained(
        None,
        config=config,
        state_dict=weights,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
    )
    unread = [name for name in report["unexpected_keys"] if not IGNORED.search(name)]
    if report["missing_keys"] or report["mismatched_keys"] or unread:
        raise SystemExit(
            f"Expected the weights of {kind_class.__name__} in {checkpoint}, but missing are "
            f"{sorted(report['missing_keys'])}, of another shape {sorted(report['mismatched_keys'])}, "
            f"and not of this class {sorted(unread)}."
        )
    for part in model.modules():
        if isinstance(part, transformers.PreTrainedModel):
            assert part.config._attn_implementation == "eager" and part.dtype == torch.float32, type(part)
    return model.eval()


def weight_files(checkpoint):
    """As in from_pretrained: model.safetensors, or else the shards of the index; other files are ignored."""
    if (checkpoint / "model.safetensors").exists():
        return ["model.safetensors"]
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text())
    return sorted(set(index["weight_map"].values()))


def load_pixels(checkpoint, picture):
    """Returns [1,3,H,W], the output of the PIL image processor."""
    config = None
    if (checkpoint / "processor_config.json").exists():
        config = json.loads((checkpoint / "processor_config.json").read_text()).get("image_processor")
    if config is None:
        config = json.loads((checkpoint / "preprocessor_config.json").read_text())
    config.pop("image_processor_type", None)
    config.pop("processor_class", None)
    return BlipImageProcessorPil(**config)(Image.open(picture), return_tensors="pt")["pixel_values"]


def image_inputs(inputs):
    return {name: inputs[name] for name in ("pixel_values", "qformer_input_ids") if name in inputs}


@torch.no_grad()
def run_image(model, inputs):
    outputs = model.get_image_features(**image_inputs(inputs))
    return {
        "vision": outputs.last_hidden_state,
        "queries": outputs.qformer_outputs.last_hidden_state[:, : model.config.num_query_tokens],
        "prefix": outputs.pooler_output,
    }


@torch.no_grad()
def build_inputs(model, pixel_values, ids, mask=None, **more):
    """
    What the class's `generate` hands to its language model: queries, then (padded) prompt.

    Checkpoints without image_token_index cannot be run by transformers 5 (README, finding 3); for them the same three
    inputs are made here, with input_ids that hold the prompt only.
    """
    mask = torch.ones_like(ids) if mask is None else mask
    prefix = model.get_image_features(pixel_values, **more).pooler_output
    embeds = torch.cat([prefix, model.get_input_embeddings()(ids)], dim=1)
    mask = torch.cat([mask.new_ones(prefix.shape[:2]), mask], dim=1)
    if model.config.image_token_index is not None:
        placeholders = ids.new_full(prefix.shape[:2], model.config.image_token_index)
        ids = torch.cat([placeholders, ids], dim=1)
    return {"pixel_values": pixel_values, "input_ids": ids, "inputs_embeds": embeds, "attention_mask": mask, **more}


def called(model, inputs):
    """Returns the model to call and its inputs."""
    if model.config.image_token_index is not None:
        return model, {**image_inputs(inputs), **{name: inputs[name] for name in ("input_ids", "attention_mask")}}
    return model.language_model, {name: inputs[name] for name in ("inputs_embeds", "attention_mask")}


def run_logits(model, inputs):
    return run_language(model, inputs)["logits"]


@torch.no_grad()
def run_language(model, inputs, decoder_ids=None):
    """Returns the logits of every position; of an encoder-decoder those of `decoder_ids`, and the encoder's output."""
    run, given = called(model, inputs)
    if decoder_ids is None:
        return {"logits": run(**given).logits}
    output = run(**given, decoder_input_ids=decoder_ids)
    inner = output if run is model.language_model else output.language_model_outputs
    return {"encoder": inner.encoder_last_hidden_state, "decoder_ids": decoder_ids, "logits": output.logits}


@torch.no_grad()
def generate(model, inputs, arguments):
    arguments = {**arguments, "return_dict_in_generate": True, "output_scores": True}
    run, given = called(model, inputs)
    if run is model.language_model and not run.config.is_encoder_decoder:
        given["input_ids"] = inputs["input_ids"]
        if "min_length" in arguments and arguments.get("min_new_tokens") is None:
            # Without placeholders in input_ids, lengths would count differently than for other checkpoints.
            row = inputs["inputs_embeds"].shape[1]
            arguments["min_new_tokens"] = max(0, arguments.pop("min_length") - row)
        arguments.pop("min_length", None)
    return run.generate(**given, **arguments)


def run_generate(model, inputs, arguments):
    """Returns the sequences of `generate`, their generated ids [R,n], and the smallest gap of greedy search or None."""
    output = generate(model, inputs, arguments)
    decoder = model.language_model.config.is_encoder_decoder
    ids = output.sequences[:, 1 if decoder else inputs["input_ids"].shape[1] :]
    if arguments.get("num_beams", 1) > 1:
        return output.sequences, ids, None
    best = torch.stack(output.scores, dim=1).topk(2, dim=-1).values
    return output.sequences, ids, float((best[..., 0] - best[..., 1]).min())


def run_first_step(model, inputs, arguments):
    """Returns the probabilities [V] of the first sampled token."""
    at_least = min(1, arguments.get("min_new_tokens", 0))  # more than max_new_tokens would only warn
    output = generate(model, inputs, {**arguments, "max_new_tokens": 1, "min_new_tokens": at_least})
    return output.scores[0][0].softmax(dim=-1)


def save(path, tensors, metadata):
    """Writes the file. The same input gives the same bytes: safetensors alone writes metadata in an order of chance."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = safetensors.torch.save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def record_all(recorder, pictures, prompts, generations, folder):
    """Writes one file for each picture, prompt and arguments; stages stand in the first one of a picture and prompt."""
    numbered = itertools.product(pictures, enumerate(prompts), enumerate(generations))
    for picture, (a, prompt), (b, generation) in numbered:
        name = f"{Path(picture).stem}-{a}" + (f"-{b}" if len(generations) > 1 else "")
        save(Path(folder) / f"{name}.safetensors", *recorder.record(picture, prompt, generation, stages=b == 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--kind", choices=KINDS, help="default: itm for Blip2ForImageTextRetrieval, else generate")
    parser.add_argument("--picture", type=Path, nargs="+", required=True)
    parser.add_argument("--prompt", nargs="+", default=[""], help="for itm and matrix: the text")
    parser.add_argument("--generation", type=json.loads, nargs="+", default=[{}], help="arguments of generate: JSON")
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file, or a folder for several")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recorder = Recorder(arguments.checkpoint, arguments.kind)
    cases = (arguments.picture, arguments.prompt, arguments.generation)
    if recorder.kind == "matrix":
        save(arguments.out, *recorder.matrix(*cases[:2]))
    elif arguments.out.suffix == ".safetensors":
        if any(len(values) > 1 for values in cases):
            parser.error("several pictures, prompts or generations need a folder as --out")
        save(arguments.out, *recorder.record(*(values[0] for values in cases)))
    else:
        record_all(recorder, *cases, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
