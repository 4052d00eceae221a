"""
Writes test/fixtures/checkpoints and test/fixtures/references.

In:  the table FIXTURES.
Out: two pictures, tokenizer.json, added-tokens.json, and per row one checkpoint folder and one folder of references:

     PICTURE-N.safetensors      the form of record.py: one picture and prompt number N, all stages, greedy
     cases.json                 {cases, batches, sampled}: what `generate` gives for settings.json x pictures x prompts
       cases                    [{image, prompt, generation, token_ids}]: rows as in record.py, without sampling
       batches                  [{rows: [{image, prompt}], generation, token_ids}]: left-padded prompts run together
       sampled                  [{image, prompt, generation}]: with do_sample
     probabilities.safetensors  probabilities [K,V]: of the first token of sampled[K], after all processors

     Of InstructBLIP: PICTURE-N-S.safetensors, S the number of one of INSTRUCT_SETTINGS; all stages in the first.
     Of a checkpoint for matching: PICTURE-N.safetensors for each of TEXTS, and matrix.safetensors.

    python fixtures.py [NAME ...]
"""

import itertools
import json
import shutil
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
SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text())

# configuration -> seed, chosen so that both pictures get different answers and some answers end early
FIXTURES = {"plain": 1, "old-layout": 7, "half-shards": 11, "hub-defaults": 11, "odd": 14, "t5-gated": 1, "t5-plain": 1}
INSTRUCT = {"llama-grouped": 1, "instruct-t5-plain": 1}
INSTRUCT_SETTINGS = ("greedy", "many ends", "repetition penalty", "beams, all")
MATCHING = {"itm": 1, "itm-odd": 2}
TEXTS = ["a cat on the table", "A dog -- on the BEACH!", "", "what color is the car? it is red and white"]

PROMPTS = ["", "Question: what is it? Answer:", "Frage: ¿qué 色 is it? 🐈 Antwort:"]
# Far above float32 noise: another runtime must give the same ids.
SMALLEST_GAP = 5e-4
# (picture, prompt) of each row
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


def make_fixture(name, pictures):
    """Makes the checkpoint and its references."""
    checkpoint, folder = CHECKPOINTS / name, REFERENCES / name
    make_checkpoint.make_checkpoint(checkpoint, named_configuration(name), FIXTURES[name])
    shutil.rmtree(folder, ignore_errors=True)
    recorder = record.Recorder(checkpoint)
    for number, prompt in enumerate(PROMPTS):
        picture = pictures[number % len(pictures)]
        file = folder / f"{picture.stem}-{number}.safetensors"
        record.save(file, *recorder.record(picture, prompt, SETTINGS["greedy"]))
    cases, batches, sampled, probabilities = [], [], [], []
    for generation, picture, prompt in itertools.product(SETTINGS.values(), pictures, PROMPTS):
        case = {"image": picture.name, "prompt": prompt, "generation": generation}
        inputs = recorder.inputs(record.load_pixels(checkpoint, picture), prompt)
        if generation.get("do_sample"):
            sampled.append(case)
            probabilities.append(record.run_first_step(recorder.model, inputs, generation))
            continue
        _, ids, gap = record.run_generate(recorder.model, inputs, generation)
        assert gap is None or gap > SMALLEST_GAP, f"{name}, {case}: two scores are {gap} apart; choose another seed"
        cases.append({**case, "token_ids": ids.tolist()})
    for rows in BATCHES:
        batches.append(record_batch(recorder, [(pictures[picture], PROMPTS[prompt]) for picture, prompt in rows]))
    write_lists(folder / "cases.json", {"cases": cases, "batches": batches, "sampled": sampled})
    record.save(folder / "probabilities.safetensors", {"probabilities": torch.stack(probabilities)}, {})
    print_sizes(name)


def make_instruct_fixture(name, pictures):
    """Makes the checkpoint and its references."""
    checkpoint, folder = CHECKPOINTS / name, REFERENCES / name
    make_checkpoint.make_checkpoint(checkpoint, named_configuration(name), INSTRUCT[name])
    shutil.rmtree(folder, ignore_errors=True)
    recorder = record.Recorder(checkpoint)
    for number, prompt in enumerate(PROMPTS):
        picture = pictures[number % len(pictures)]
        for which, setting in enumerate(INSTRUCT_SETTINGS):
            tensors, notes = recorder.record(picture, prompt, SETTINGS[setting], stages=which == 0)
            gap = float(notes.get("smallest_gap", 1))
            assert gap > SMALLEST_GAP, f"{name}, {prompt}, {setting}: two scores are {gap} apart; choose another seed"
            record.save(folder / f"{picture.stem}-{number}-{which}.safetensors", tensors, notes)
    print_sizes(name)


def print_sizes(name):
    sizes = [
        sum(file.stat().st_size for file in (root / name).rglob("*.*")) / 1000 for root in (CHECKPOINTS, REFERENCES)
    ]
    print(f"{name}: checkpoint {sizes[0]:.0f} kB, references {sizes[1]:.0f} kB", flush=True)


def make_matching_fixture(name, pictures):
    """Makes the checkpoint and its references."""
    checkpoint, folder = CHECKPOINTS / name, REFERENCES / name
    make_checkpoint.make_checkpoint(checkpoint, named_configuration(name), MATCHING[name])
    shutil.rmtree(folder, ignore_errors=True)
    recorder = record.Recorder(checkpoint)
    for number, text in enumerate(TEXTS[:3]):
        picture = pictures[number % len(pictures)]
        record.save(folder / f"{picture.stem}-{number}.safetensors", *recorder.record(picture, text))
    record.save(folder / "matrix.safetensors", *recorder.matrix(pictures, TEXTS))
    print_sizes(name)


def record_batch(recorder, rows):
    """Greedy answers of several rows that run together."""
    pixels = torch.cat([record.load_pixels(recorder.checkpoint, picture) for picture, _ in rows])
    prompts = [prompt for _, prompt in rows]
    side = "right" if recorder.model.language_model.config.is_encoder_decoder else "left"
    padded = recorder.tokenizer(prompts, padding=True, padding_side=side, return_tensors="pt")
    inputs = record.build_inputs(recorder.model, pixels, padded["input_ids"], padded["attention_mask"])
    _, ids, _ = record.run_generate(recorder.model, inputs, SETTINGS["greedy"])
    named = [{"image": picture.name, "prompt": prompt} for picture, prompt in rows]
    return {"rows": named, "generation": SETTINGS["greedy"], "token_ids": ids.tolist()}


def write_lists(path, lists):
    """Writes an object of lists as JSON, one entry a line."""
    entries = {name: [json.dumps(entry, ensure_ascii=False) for entry in entries] for name, entries in lists.items()}
    text = ",\n".join(f'"{name}": [\n  ' + ",\n  ".join(rows) + "\n]" for name, rows in entries.items())
    path.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


def main(names):
    torch.set_num_threads(1)
    pictures = draw_pictures()
    makers = {
        **dict.fromkeys(FIXTURES, make_fixture),
        **dict.fromkeys(INSTRUCT, make_instruct_fixture),
        **dict.fromkeys(MATCHING, make_matching_fixture),
    }
    for name in names or makers:
        makers[name](name, pictures)
    record_tokenizer(CHECKPOINTS / "plain")
    added_tokens.main()


if __name__ == "__main__":
    main(sys.argv[1:])
