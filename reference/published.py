"""
Writes the expected values of transformers' tests for Salesforce's weights as references for `glimpse verify`.

Source: tests/models/blip_2/test_modeling_blip_2.py of transformers 5, test_inference_opt and test_inference_t5, on the picture
demo.jpg of hf-internal-testing/blip-test-image. The ids are those after the 32 placeholders and the prompt, and with T5 those
after the start token. The tests run in float16; with T5, transformers before 4.53 and in float32 gave other answers to
the same picture ("woman playing with dog on the beach", "san diego"), so a difference there need not be a fault. Of
InstructBLIP: tests/models/instructblip/test_modeling_instructblip.py, test_inference_vicuna_7b, recorded with 8-bit weights of
bitsandbytes, on Confusing-Pictures.jpg of LAVIS.

    python published.py
"""

import json
from pathlib import Path

import record
import torch

FOLDER = Path(__file__).parent / "published"
OPT, T5 = "Salesforce/blip2-opt-2.7b", "Salesforce/blip2-flan-t5-xl"
VICUNA = "Salesforce/instructblip-vicuna-7b"
CITY = "Question: which city is this? Answer:"
# checkpoint, picture, prompt, max_new_tokens, ids, their text
EXPECTED = {
    "opt-2.7b-caption": (
        *(OPT, "demo.jpg", "", 20),
        [102, 693, 2828, 15, 5, 4105, 19, 10, 2335, 50118],
        "a woman sitting on the beach with a dog",
    ),
    "opt-2.7b-question": (
        *(OPT, "demo.jpg", CITY, 20),
        [24, 18, 45, 10, 343, 6, 24, 18, 10, 4105, 50118],
        "it's not a city, it's a beach",
    ),
    "flan-t5-xl-caption": (
        *(T5, "demo.jpg", "", 20),
        [3, 9, 2335, 19, 1556, 28, 160, 1782, 30, 8, 2608, 1],
        "a woman is playing with her dog on the beach",
    ),
    "flan-t5-xl-question": (T5, "demo.jpg", CITY, 20, [3, 7, 152, 2515, 11389, 3523, 1], "san francisco"),
    "instructblip-vicuna-7b": (
        *(VICUNA, "Confusing-Pictures.jpg", "What is unusual about this image?", 30),
        [
            *(450, 22910, 9565, 310, 445, 1967, 338, 393, 263, 767, 338, 13977, 292, 22095, 373, 278, 1250, 310, 263),
            *(13328, 20134, 29963, 1550, 19500, 373, 263, 19587, 4272, 11952, 29889),
        ],
        "The unusual aspect of this image is that a man is ironing clothes on the back of a yellow SUV while driving on a "
        "busy city street.",
    ),
}

for name, (checkpoint, image, prompt, count, ids, text) in EXPECTED.items():
    metadata = {
        "kind": "generate",
        "checkpoint": checkpoint,
        "image": image,
        "prompt": prompt,
        "generation": json.dumps({"max_new_tokens": count}),
        "text": text,
    }
    record.save(FOLDER / f"{name}.safetensors", {"token_ids": torch.tensor(ids)}, metadata)
