"""
The transformers side of against-transformers.mjs: loads a checkpoint in one type, then answers each line of JSON with one.

In:  {"ids": [prompt ids], "new_tokens": 10}    the picture is noise, encoded again for each line
Out: {"total": s}                               seconds of one call of generate

    python transformers.py CHECKPOINT THREADS float32|bfloat16 [LAYERS]

With LAYERS, only so many layers of the language model are loaded (of T5, in the encoder and in the decoder), and `total`
is that of all layers: the time inside those that are loaded times all / LAYERS, and the rest as it is.
"""

import json
import os
import sys
import time

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]  # this file has the package's name

import torch
import transformers
from transformers import AutoConfig, Blip2ForConditionalGeneration, InstructBlipForConditionalGeneration


@torch.no_grad()
def main():
    checkpoint, threads, dtype = sys.argv[1], int(sys.argv[2]), getattr(torch, sys.argv[3])
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(checkpoint)
    is_instruct = config.model_type == "instructblip"
    Model = InstructBlipForConditionalGeneration if is_instruct else Blip2ForConditionalGeneration
    text = config.text_config
    name = "num_layers" if text.model_type == "t5" else "num_hidden_layers"
    every = getattr(text, name)
    loaded = int(sys.argv[4]) if len(sys.argv) > 4 else every
    setattr(text, name, loaded)
    if text.model_type == "t5":
        text.num_decoder_layers = loaded
    model = Model.from_pretrained(checkpoint, config=config, dtype=dtype).eval()
    inside = Stopwatch(layers_of(model.language_model))
    size = config.vision_config.image_size
    placeholders = [config.image_token_index] * config.num_query_tokens
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(dtype)
    about = f"transformers {transformers.__version__}, torch {torch.__version__}"
    part = "" if loaded == every else f", {loaded} of {every} layers of the language model, the others extrapolated"
    print(json.dumps({"ready": f"{about}, {sys.argv[3]}{part}"}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        ids = torch.tensor([placeholders + request["ids"]])
        count = request["new_tokens"]
        # The Q-Former of InstructBLIP reads the prompt too; which words does not matter here.
        more = {"qformer_input_ids": torch.tensor([[2, *request["ids"], 3]]) % 30_000} if is_instruct else {}
        inside.seconds = 0
        began = time.perf_counter()
        model.generate(
            pixel_values=pixels,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            min_new_tokens=count,
            **more,
        )
        total = time.perf_counter() - began
        print(json.dumps({"total": total + (every / loaded - 1) * inside.seconds}), flush=True)


def layers_of(language_model):
    """The layers that `LAYERS` counts."""
    if hasattr(language_model, "encoder"):
        return [*language_model.encoder.block, *language_model.decoder.block]
    return list(getattr(language_model.model, "decoder", language_model.model).layers)


class Stopwatch:
    """Sums the seconds inside these modules, which do not contain each other."""

    def __init__(self, modules):
        self.seconds = 0
        for module in modules:
            module.register_forward_pre_hook(self.start)
            module.register_forward_hook(self.stop)

    def start(self, *_):
        self.began = time.perf_counter()

    def stop(self, *_):
        self.seconds += time.perf_counter() - self.began


main()
