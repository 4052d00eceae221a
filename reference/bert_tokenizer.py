"""
Writes test/fixtures/references/bert-tokenizer.json: what BertTokenizer gives for many texts and ids.

In:  the fixture checkpoint itm.
Run: python bert_tokenizer.py      writes the same bytes again
Out: {texts: [{text, ids, decoded}], cased: [{text, ids}]}: fixtures.NASTY_TEXTS and random texts. `decoded` is without
     special tokens. `cased`: with do_lower_case false in tokenizer_config.json, which wins over tokenizer.json.
"""

import json
import random
import shutil
import tempfile
from pathlib import Path

import fixtures  # first: it sets the environment of transformers
from t5_tokenizer import ACCENTS, PARTS
from transformers import AddedToken, AutoTokenizer

WORDS = ["Question", "##on", "[CLS]", "[SEP]", "[DEC]", "[UNK]", "[MASK]", "standing", "Café", "x" * 101, "İ", "ß", "ǅ"]


def main():
    folder = fixtures.CHECKPOINTS / "itm"
    tokenizer = opened(folder)
    assert type(tokenizer).__name__ == "BertTokenizer"
    draw = random.Random(1)
    texts = [*fixtures.NASTY_TEXTS, *ACCENTS, *WORDS, "it ' s n't , 've"]
    texts += ["".join(draw.choices([*PARTS, *WORDS], k=draw.randint(1, 12))) for _ in range(150)]
    decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    rows = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in texts]
    lists = {"texts": [{**row, "decoded": decode(row["ids"])} for row in rows], "cased": cased(folder, texts[:80])}
    fixtures.write_lists(fixtures.REFERENCES / "bert-tokenizer.json", lists)


def opened(folder):
    """The tokenizer as Blip2Processor has it, which adds the placeholder of the picture."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("<image>", normalized=False, special=True)], special_tokens=True)
    return tokenizer


def cased(folder, texts):
    with tempfile.TemporaryDirectory() as room:
        for name in ("tokenizer.json", "config.json", "special_tokens_map.json"):
            shutil.copy(folder / name, room)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (Path(room) / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": False}))
        tokenizer = opened(room)
        return [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in texts]


if __name__ == "__main__":
    main()
