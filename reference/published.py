"""
Writes the expected values of transformers' tests for published checkpoints as references for `glimpse verify`.

Source: tests/models/blip_2/test_modeling_blip_2.py of transformers 5, test_inference_opt and test_inference_t5, on the picture
demo.jpg of hf-internal-testing/blip-test-image. The ids are those after the 32 placeholders and the prompt, and with T5 those
after the start token. The tests run in float16; with T5, transformers before 4.53 and in float32 gave other answers to
the same picture ("woman playing with dog on the beach", "san diego"), so a difference there need not be a fault.

    python published.py
"""

from pathlib import Path

import record
import torch

FOLDER = Path(__file__).parent / "published"
CITY = "Question: which city is this? Answer:"
OPT, T5 = "Salesforce/blip2-opt-2.7b", "Salesforce/blip2-flan-t5-xl"
EXPECTED = {
    "opt-2.7b-caption": (
        *(OPT, "", [102, 693, 2828, 15, 5, 4105, 19, 10, 2335, 50118]),
        "a woman sitting on the beach with a dog",
    ),
    "opt-2.7b-question": (
        *(OPT, CITY, [24, 18, 45, 10, 343, 6, 24, 18, 10, 4105, 50118]),
        "it's not a city, it's a beach",
    ),
    "flan-t5-xl-caption": (
        *(T5, "", [3, 9, 2335, 19, 1556, 28, 160, 1782, 30, 8, 2608, 1]),
        "a woman is playing with her dog on the beach",
    ),
    "flan-t5-xl-question": (T5, CITY, [3, 7, 152, 2515, 11389, 3523, 1], "san francisco"),
}

for name, (checkpoint, prompt, ids, text) in EXPECTED.items():
    metadata = {
        "kind": "generate",
        "checkpoint": checkpoint,
        "image": "demo.jpg",
        "prompt": prompt,
        "generation": '{"max_new_tokens": 20}',
        "text": text,
    }
    record.save(FOLDER / f"{name}.safetensors", {"token_ids": torch.tensor(ids)}, metadata)
