"""
Writes test/fixtures/references/t5-tokenizer.json: what T5Tokenizer gives for many texts and ids.

In:  the fixture checkpoint t5-gated.
Run: python t5_tokenizer.py      writes the same bytes again
Out: {texts: [{text, ids, decoded}], answers: [{ids, text}]}: fixtures.NASTY_TEXTS and random texts; random ids as an answer
     may have them. `decoded` and `text` are without special tokens and cleaned up, as tokenizer_config.json asks for.
"""

import json
import random

import fixtures  # first: it sets the environment of transformers
from transformers import AutoTokenizer

# A combining accent behind a character that the table replaces is dropped; behind others it is kept.
ACCENTS = ["№\u0301", "ﬁ\u0301", "e\u0301", "x\u0301\u0300", "½\u0327", "①\u0301"]
PARTS = [
    *("a", "b", "E", "n", " ", "  ", "\t", "\n", "\r\n", "what", "is", "'", "n't", ".", ",", "?", "!"),
    *("№", "ﬁ", "½", "é", "中", "🐈", "👩‍👩‍👧", "\u0301", "\u0327", "\u200b", "\u00a0", "Ａ", "㎏", "Ω", "ก็", "한"),
    *("\u0085", "\ufeff", "\u0000", "\u0007", "</s>", "<pad>", "<unk>", "<image>", "<extra_id_1>"),
]


def main():
    tokenizer = AutoTokenizer.from_pretrained(fixtures.CHECKPOINTS / "t5-gated")
    draw = random.Random(1)
    texts = [*fixtures.NASTY_TEXTS, *ACCENTS, "it ' s n't , 've"]
    texts += ["".join(draw.choices(PARTS, k=draw.randint(1, 12))) for _ in range(150)]
    decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    rows = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in texts]
    answers = [draw.choices(range(len(tokenizer)), k=draw.randint(1, 10)) for _ in range(150)]
    lists = {
        "texts": [{**row, "decoded": decode(row["ids"])} for row in rows],
        "answers": [{"ids": ids, "text": decode(ids)} for ids in answers],
    }
    fixtures.write_lists(fixtures.REFERENCES / "t5-tokenizer.json", lists)


if __name__ == "__main__":
    main()
