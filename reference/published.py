"""
Writes the expected values of transformers' tests for Salesforce's weights as references for `glimpse verify`.

Source: tests/models/blip_2/test_modeling_blip_2.py of transformers 5, test_inference_opt, on the picture demo.jpg of
hf-internal-testing/blip-test-image; the ids are those after the 32 placeholders and the prompt. Of InstructBLIP:
tests/models/instructblip/test_modeling_instructblip.py, test_inference_vicuna_7b, recorded with 8-bit weights of bitsandbytes, on
Confusing-Pictures.jpg of LAVIS.

    python published.py
"""

import json
from pathlib import Path

import record
import torch

FOLDER = Path(__file__).parent / "published"
OPT, VICUNA = "Salesforce/blip2-opt-2.7b", "Salesforce/instructblip-vicuna-7b"
# checkpoint, picture, prompt, max_new_tokens, ids
EXPECTED = {
    "caption": (OPT, "demo.jpg", "", 20, [102, 693, 2828, 15, 5, 4105, 19, 10, 2335, 50118]),
    "question": (
        OPT,
        "demo.jpg",
        "Question: which city is this? Answer:",
        20,
        [24, 18, 45, 10, 343, 6, 24, 18, 10, 4105, 50118],
    ),
    "instructblip-vicuna-7b": (
        VICUNA,
        "Confusing-Pictures.jpg",
        "What is unusual about this image?",
        30,
        [
            *(450, 22910, 9565, 310, 445, 1967, 338, 393, 263, 767, 338, 13977, 292, 22095, 373, 278, 1250, 310, 263),
            *(13328, 20134, 29963, 1550, 19500, 373, 263, 19587, 4272, 11952, 29889),
        ],
    ),
}

for name, (checkpoint, image, prompt, count, ids) in EXPECTED.items():
    metadata = {
        "kind": "generate",
        "checkpoint": checkpoint,
        "image": image,
        "prompt": prompt,
        "generation": json.dumps({"max_new_tokens": count}),
    }
    record.save(FOLDER / f"{name}.safetensors", {"token_ids": torch.tensor(ids)}, metadata)
