"""
Writes test/fixtures/references/llama-tokenizer.json: what LlamaTokenizer gives for many texts and ids.

In:  the fixture checkpoint llama-grouped.
Run: python llama_tokenizer.py      writes the same bytes again
Out: {texts: [{text, ids, decoded}], answers: [{ids, text}], variants: [{config, texts: [{text, ids, decoded}]}]}: texts as in
     t5_tokenizer.py; random ids as an answer may have them; a few texts with other keys in tokenizer_config.json, of which
     `PreTrainedTokenizerFast` takes tokenizer.json as it is. `decoded` and `text` are without special tokens.
"""

import json
import random
import shutil
import tempfile
from pathlib import Path

import fixtures  # first: it sets the environment of transformers
from t5_tokenizer import ACCENTS, PARTS
from transformers import AutoTokenizer

CHECKPOINT = fixtures.CHECKPOINTS / "llama-grouped"
VARIANTS = [
    {"legacy": True},
    {"add_prefix_space": False},
    {"add_bos_token": False, "add_eos_token": True},
    {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": None, "add_eos_token": None},
]


def main():
    draw = random.Random(1)
    parts = [*PARTS, "▁", "<0x41>", "[PAD]"]
    texts = [*fixtures.NASTY_TEXTS, *ACCENTS, " </s> a", "a </s>", "▁a", "it ' s n't , 've"]
    texts += ["".join(draw.choices(parts, k=draw.randint(1, 12))) for _ in range(120)]
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    assert type(tokenizer).__name__ == "LlamaTokenizer"
    # Bytes of a character often stand together in answers.
    runs = [[byte + 3 for byte in text.encode()] for text in ("é", "中", "🐈", "a", "中"[:1])]
    answers = []
    for _ in range(120):
        pieces = draw.choices([*runs, *([id] for id in range(len(tokenizer)))], k=draw.randint(1, 8))
        answers.append(sum(pieces, [])[: draw.choice([2, 5, 30])])
    lists = {
        "texts": rows(tokenizer, texts),
        "answers": [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in answers],
        "variants": [{"config": config, "texts": rows(variant(config), texts[:70])} for config in VARIANTS],
    }
    fixtures.write_lists(fixtures.REFERENCES / "llama-tokenizer.json", lists)


def rows(tokenizer, texts):
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return [
        {"text": text, "ids": own, "decoded": tokenizer.decode(own, skip_special_tokens=True)}
        for text, own in zip(texts, ids)
    ]


def variant(config):
    """The tokenizer with these keys in tokenizer_config.json; None removes a key."""
    with tempfile.TemporaryDirectory() as room:
        for name in ("tokenizer.json", "special_tokens_map.json"):
            shutil.copy(CHECKPOINT / name, room)
        whole = {**json.loads((CHECKPOINT / "tokenizer_config.json").read_text()), **config}
        kept = {key: value for key, value in whole.items() if value is not None}
        (Path(room) / "tokenizer_config.json").write_text(json.dumps(kept))
        return AutoTokenizer.from_pretrained(room)


if __name__ == "__main__":
    main()
