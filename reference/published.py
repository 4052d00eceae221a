"""
Writes the expected values of transformers' tests for Salesforce/blip2-opt-2.7b as references for `glimpse verify`.

Source: tests/models/blip_2/test_modeling_blip_2.py of transformers 5, test_inference_opt, on the picture demo.jpg of
hf-internal-testing/blip-test-image; the ids are those after the 32 placeholders and the prompt.

    python published.py
"""

from pathlib import Path

import record
import torch

FOLDER = Path(__file__).parent / "published"
EXPECTED = {
    "caption": ("", [102, 693, 2828, 15, 5, 4105, 19, 10, 2335, 50118]),
    "question": ("Question: which city is this? Answer:", [24, 18, 45, 10, 343, 6, 24, 18, 10, 4105, 50118]),
}

for name, (prompt, ids) in EXPECTED.items():
    metadata = {
        "kind": "generate",
        "checkpoint": "Salesforce/blip2-opt-2.7b",
        "image": "demo.jpg",
        "prompt": prompt,
        "generation": '{"max_new_tokens": 20}',
    }
    record.save(FOLDER / f"{name}.safetensors", {"token_ids": torch.tensor(ids)}, metadata)
