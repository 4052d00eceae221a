"""
Records how transformers reads tokenizers with more added tokens than `plain` has.

In:  the table VARIANTS: edits of the files of test/fixtures/checkpoints/plain.
Out: test/fixtures/references/added-tokens.json: [{name, edits, cases: [{text, ids, typed}], answers: [{ids, text}]}].

     edits    file name -> keys to set in its JSON (null removes the key); null removes the file
     ids      of the text from AutoTokenizer and Blip2Processor; texts with the same ids as in `plain` are left out
     typed    the same with split_special_tokens=True: special tokens in the text stay text
     answers  batch_decode(skip_special_tokens=True) of all added ids and of unused ids, with and without a
              letter between two

    python added_tokens.py
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tokenizers import AddedToken
from transformers import AutoTokenizer

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
PLAIN = FIXTURES / "checkpoints" / "plain"
CONFIG, FILE, MAP, LEGACY = "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json"
VOCABULARY = 296


def token(content, special=False, normalized=True, **flags):
    rest = {"lstrip": False, "rstrip": False, "single_word": False}
    return {"content": content, "normalized": normalized, "special": special, **rest, **flags}


BASE = {1: token("<pad>", True), 2: token("</s>", True), 296: token("<image>", True, False)}


def decoder(*contents):
    """Returns added_tokens_decoder: the entries of `plain`, then the given ones."""
    return {str(id): entry for id, entry in {**BASE, **dict(enumerate(contents, VOCABULARY + 1))}.items()}


def listed(entries):
    """Returns the same tokens in the format of tokenizer.json."""
    return [{"id": int(id), **entry} for id, entry in entries.items()]


def both(*contents):
    entries = decoder(*contents)
    return {CONFIG: {"added_tokens_decoder": entries}, FILE: {"added_tokens": listed(entries)}}


WORDS = [
    token("<loc_1>"),
    token("<loc_12>"),
    token("café"),
    token("a b"),
    token("Ġfoo"),
    token("日本"),
    token("on"),
    token("constructor"),
    token(".*"),
]
STRIPS = [
    token("<l>", lstrip=True),
    token("<r>", rstrip=True),
    token("<lr>", lstrip=True, rstrip=True, normalized=False),
    token("cat", single_word=True),
    token("<w>", single_word=True, lstrip=True),
]
OVERLAPS = [
    token("<im"),
    token("image"),
    token("age>x", normalized=False),
    token("</s"),
    token("aa"),
    token("aab", normalized=False),
    token("<hidden>", True),
    token("hidden"),
    token("  ", normalized=False, lstrip=True, rstrip=True),
]
LOWER = {"type": "Lowercase"}

VARIANTS = {
    "words": both(*WORDS),
    "strips": both(*STRIPS),
    "overlaps": both(*OVERLAPS),
    # Only tokenizer.json lists them, as transformers 5 saves it.
    "tokenizer.json": {
        CONFIG: {"added_tokens_decoder": None, "add_bos_token": None},
        FILE: {"added_tokens": listed(decoder(*WORDS[:4]))},
        MAP: None,
        LEGACY: None,
        "vocab.json": None,
        "merges.txt": None,
    },
    # As in OPT's files: no tokenizer.json, no added_tokens_decoder.
    "oldest": {
        CONFIG: {"added_tokens_decoder": None, "bos_token": {"__type": "AddedToken", **token("</s>")}},
        FILE: None,
        MAP: {"pad_token": token("<pad>", True), "additional_special_tokens": ["<hidden>"]},
        LEGACY: {"<image>": 296, "<loc_1>": 297, "<hidden>": 298, "a b": 299},
    },
    "oldest without a mark in front": {
        CONFIG: {"added_tokens_decoder": None, "add_bos_token": None},
        FILE: None,
        LEGACY: {"<loc_1>": 296},
    },
    # added_tokens.json lists tokens that tokenizer.json does not.
    "added_tokens.json and tokenizer.json": {
        CONFIG: {"added_tokens_decoder": None},
        LEGACY: {"<image>": 296, "<loc_1>": 297, "</s>": 2},
    },
    # tokenizer_config.json takes precedence.
    "stale tokenizer.json": {
        CONFIG: {"added_tokens_decoder": decoder(token("<loc_1>"), token("<loc_12>", True))},
        FILE: {"added_tokens": listed(decoder(token("<loc_1>", True), token("<loc_12>"), token("a b")))},
    },
    "stale added_tokens.json": {
        CONFIG: {"added_tokens_decoder": decoder(token("<loc_1>"))},
        LEGACY: {"<image>": 296, "a b": 297, "<loc_12>": 298},
    },
    "stale vocab.json": {"vocab.json": {"a": 5, "b": 4}, **both(token("<loc_1>"))},
    # Tokens do not get the ids that the files state.
    "ids with gaps": {
        CONFIG: {"added_tokens_decoder": {**decoder(), "400": token("<loc_1>"), "7": token("on"), "350": token("a b")}},
    },
    "names": {
        CONFIG: {
            **both(token("<loc_1>"), token("<loc_12>"))[CONFIG],
            "cls_token": "<loc_12>",
            "image_token": "<picture>",
            "additional_special_tokens": ["<loc_1>", "<hidden>"],
        },
    },
    "space in front": {CONFIG: {**both(*WORDS[:4])[CONFIG], "add_prefix_space": True}},
    # A class other than GPT-2's uses all of tokenizer.json.
    "another class": {
        CONFIG: {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": decoder(token("<loc_12>"))},
        FILE: {
            "normalizer": LOWER,
            "added_tokens": listed(decoder(token("<LOC_1>"), token("<LOC_2>", normalized=False), token("A B"))),
        },
    },
}

TEXTS = [
    "",
    "a",
    "<loc_1>",
    "x<loc_1>y<loc_12>z <loc_123> <loc_",
    "Question: is the café a b at 日本? Answer: on",
    "a  b a b constructor Ġfoo foo .* x*",
    "a <l> b <r> c <lr> d  <l>  <r>  <lr>  e\n<lr>\t<l>",
    "cat cats a cat. <cat> _cat cat_ catcat café-cat 日cat  <w> x<w> <w>x",
    "<image>x image <im <image <imageage>x </s> </s <pad>",
    "aab aaab aaaa <hidden> hidden</s>hidden",
    "<LOC_1> <loc_1> <LOC_2> <loc_2> A B a B",
    "<picture><loc_12> <picture",
    "x    y  z   <im",
    "\u0085<l>\ufeff<r>\u3000<lr>\u200b",
]


def apply(edits, folder):
    shutil.copytree(PLAIN, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for name, keys in edits.items():
        path = folder / name
        if keys is None:
            path.unlink()
            continue
        content = {**(json.loads(path.read_text()) if path.exists() else {}), **keys}
        path.write_text(json.dumps({key: value for key, value in content.items() if keys.get(key, ...) is not None}))


def record(edits):
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "checkpoint"
        apply(edits, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if not hasattr(tokenizer, "image_token"):  # as Blip2Processor's __init__ does
        tokenizer.add_tokens([AddedToken("<image>", normalized=False, special=True)], special_tokens=True)
    cases = [
        {
            "text": text,
            "ids": tokenizer(text)["input_ids"],
            "typed": tokenizer(text, split_special_tokens=True)["input_ids"],
        }
        for text in TEXTS
    ]
    letter = tokenizer.convert_tokens_to_ids("a")
    asked = sorted({*tokenizer.added_tokens_decoder, *range(VOCABULARY, len(tokenizer) + 2), 400})
    rows = [[one for id in asked for one in (letter, id)], asked]
    answers = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return cases, [{"ids": ids, "text": text} for ids, text in zip(rows, answers, strict=True)]


def main():
    plain, _ = record({})
    variants = []
    for name, edits in VARIANTS.items():
        cases, answers = record(edits)
        lists = {"cases": [case for case in cases if case not in plain], "answers": answers}
        rows = [f'"name": {json.dumps(name)}', f'"edits": {dump(edits)}']
        rows += [f'"{key}": [\n      ' + ",\n      ".join(map(dump, rows)) + "\n    ]" for key, rows in lists.items()]
        variants.append("  {\n    " + ",\n    ".join(rows) + "\n  }")
    text = "[\n" + ",\n".join(variants) + "\n]\n"
    (FIXTURES / "references" / "added-tokens.json").write_text(text, encoding="utf-8")


def dump(value):
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    main()
