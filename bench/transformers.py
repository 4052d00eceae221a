"""
The transformers side of against-transformers.mjs: loads a checkpoint in one type, then answers each line of JSON with one.

In:  {"ids": [prompt ids], "new_tokens": 10}    the picture is noise, encoded again for each line
Out: {"vision": s, "queries": s, "total": s}    seconds; total is one call of generate

    python transformers.py CHECKPOINT THREADS float32|bfloat16
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
from transformers import Blip2ForConditionalGeneration


@torch.no_grad()
def main():
    checkpoint, threads, dtype = sys.argv[1], int(sys.argv[2]), getattr(torch, sys.argv[3])
    torch.set_num_threads(threads)
    model = Blip2ForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype).eval()
    size = model.config.vision_config.image_size
    placeholders = [model.config.image_token_index] * model.config.num_query_tokens
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(dtype)
    print(json.dumps({"ready": f"transformers {transformers.__version__}, torch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        ids = torch.tensor([placeholders + request["ids"]])
        count = request["new_tokens"]
        began = time.perf_counter()
        model.vision_model(pixels)
        vision = time.perf_counter() - began
        began = time.perf_counter()
        model.generate(
            pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count
        )
        print(json.dumps({"vision": vision, "total": time.perf_counter() - began}), flush=True)


main()
