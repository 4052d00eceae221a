"""
Writes test/fixtures/checkpoints and test/fixtures/references.

In:  the table FIXTURES.
Out: two pictures, one checkpoint folder and one .safetensors of references per row, tokenizer.json, added-tokens.json.

    python fixtures.py [NAME ...]
"""

import json
import sys
from pathlib import Path

import make_checkpoint  # first: it sets the environment of transformers
import added_tokens
import record
import torch
from configurations import named_configuration
from PIL import Image, ImageDraw
from transformers import GPT2Tokenizer

ROOT = Path(__file__).parent.parent / "test" / "fixtures"
CHECKPOINTS = ROOT / "checkpoints"
REFERENCES = ROOT / "references"

# configuration -> seed, chosen so that both pictures get different answers and some answers end early
FIXTURES = {"plain": 1, "old-layout": 7, "half-shards": 11, "hub-defaults": 11, "odd": 14}

PROMPTS = ["", "Question: what is it? Answer:", "Frage: ¿qué 色 is it? 🐈 Antwort:"]
BATCHES = [[(0, 1), (1, 0), (0, 2)], [(1, 2), (1, 0)]]

NASTY_TEXTS = [
    "",
    " ",
    "  ",
    "a",
    " a",
    "a ",
    "Question: what is it? Answer:",
    "question:what is it?answer:",
    "a  b   c    d",
    "   leading and trailing   ",
    "tab\there\t\tand there",
    "line\nline\n\nline",
    "\n",
    "\r\n",
    " \n \n ",
    "it's, you're, I'll, they'd, we've, I'm, don't",
    "IT'S YOU'RE",
    "café naïve Köln",
    "cafe\u0301",
    "日本語の文章",
    "什么颜色？",
    "Привет, мир",
    "مرحبا بالعالم",
    "🐈",
    "👩‍👩‍👧‍👦 and 🏳️‍🌈",
    "1234567890 3.14 1,000",
    "!!!???...---",
    "non\u00a0breaking\u2003space\u200bzero",
    "</s>",
    "<s>",
    "<pad>",
    "<unk>",
    "<image>",
    "a</s>b <pad> c<image>d",
    " <image> <image>",
    "<image",
    "</S>",
    "\u0000\u0001\u007f",
    "ﬁ Å ² ½ Ⅷ",
    "snake_case camelCase http://example.org/?q=1&r=2#top",
]


def draw_pictures(folder=REFERENCES):
    """Writes two tiny pictures: a wide one with a gradient and a disc, a tall one with stripes and a triangle."""
    wide = Image.new("RGB", (40, 30))
    wide.putdata([(6 * x, 8 * y, 255 - 3 * (x + y)) for y in range(30) for x in range(40)])
    ImageDraw.Draw(wide).ellipse((12, 6, 28, 22), fill=(240, 60, 30))
    tall = Image.new("RGB", (33, 57))
    tall.putdata([(40, 200 - 3 * y, 90) if (x // 4) % 2 else (230, 220, 4 * y) for y in range(57) for x in range(33)])
    ImageDraw.Draw(tall).polygon([(4, 50), (16, 14), (29, 50)], fill=(20, 20, 120))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, picture in (("disc-40x30.png", wide), ("triangle-33x57.png", tall)):
        paths.append(folder / name)
        picture.save(paths[-1], optimize=True)
    return paths


def record_tokenizer(checkpoint):
    """Writes tokenizer.json: [{text, ids, decoded}] of the tokenizer in the fixture checkpoint `plain`."""
    tokenizer = GPT2Tokenizer.from_pretrained(checkpoint)
    rows = []
    for text in NASTY_TEXTS:
        ids = tokenizer(text)["input_ids"]
        rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (REFERENCES / "tokenizer.json").write_text(f"[\n  {lines}\n]\n", encoding="utf-8")


def make_pair(root, name, configuration, seed, pictures, settings):
    """Makes root/checkpoints/NAME and root/references/NAME.safetensors."""
    checkpoint, reference = root / "checkpoints" / name, root / "references" / f"{name}.safetensors"
    make_checkpoint.make_checkpoint(checkpoint, configuration, seed)
    tensors, description = record.record(checkpoint, pictures, PROMPTS, settings, BATCHES)
    record.save(reference, tensors, description)
    size = sum(file.stat().st_size for file in checkpoint.iterdir())
    print(f"{name}: checkpoint {size / 1000:.0f} kB, references {reference.stat().st_size / 1000:.0f} kB", flush=True)


def main(names):
    torch.set_num_threads(1)
    pictures = draw_pictures()
    settings = json.loads(record.SETTINGS.read_text())
    for name in names or FIXTURES:
        make_pair(ROOT, name, named_configuration(name), FIXTURES[name], pictures, settings)
    record_tokenizer(CHECKPOINTS / "plain")
    added_tokens.main()


if __name__ == "__main__":
    main(sys.argv[1:])
