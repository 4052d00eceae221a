"""Scores an exported model on evaluation packs, in PyTorch.

In:  a checkpoint folder (export.py) and folders of pictures with scenes.jsonl (pack.py).
Out: one table for each pack: captions exactly right; answers exactly right by kind, with the share of the most
     common answer of that kind; and how often an out-of-domain picture got a false answer.

    python score.py --model ../models/pico ../models/evaluation/seen ../models/evaluation/unseen
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

import language
from model import Blip2, Size, greedy
from train import MEAN, STD

BATCH = 64


def load_model(folder: Path) -> Blip2:
    config = json.loads((folder / "config.json").read_text())
    vision, qformer, text = config["vision_config"], config["qformer_config"], config["text_config"]
    size = Size(
        image=vision["image_size"], patch=vision["patch_size"], width=vision["hidden_size"], heads=vision["num_attention_heads"],
        vision_layers=vision["num_hidden_layers"], qformer_layers=qformer["num_hidden_layers"], queries=config["num_query_tokens"],
        text_layers=text["num_hidden_layers"], positions=text["max_position_embeddings"], vocabulary=text["vocab_size"],
        cross_every=qformer["cross_attention_frequency"],
    )  # fmt: skip
    model = Blip2(size).eval()
    weights = {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.startswith(("patch_head.", "facts.")) for name in missing), (missing, unexpected)
    return model


def pixels_of(images, side: int):
    """Pillow images -> normalised pixels [B, 3, side, side]."""
    pixels = np.stack([np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)) for image in images])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


class Captioner:
    """Pictures and prompts in, texts out."""

    def __init__(self, folder: Path):
        self.model = load_model(folder)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.newline = self.tokenizer.token_to_id("Ċ")

    @torch.no_grad()
    def look(self, images):
        """Pillow images -> prefixes [B, Q, D]."""
        pixels = pixels_of(images, self.model.size.image)
        return torch.cat([self.model.language_projection(self.model.see(part)[1]) for part in pixels.split(BATCH)])

    def say(self, prefix, texts):
        """One text for each prefix; an empty prompt asks for the caption."""
        out = []
        for start in range(0, len(texts), BATCH):
            prompts = [self.tokenizer.encode(text).ids for text in texts[start : start + BATCH]]
            for ids in greedy(self.model, prefix[start : start + BATCH], prompts, self.newline):
                out.append(self.tokenizer.decode(ids).strip())
        return out


def score(captioner: Captioner, pack: Path):
    rows = [json.loads(line) for line in (pack / "scenes.jsonl").read_text().splitlines()]
    prefix = captioner.look([Image.open(pack / row["file"]) for row in rows])
    captions = captioner.say(prefix, [""] * len(rows))
    asked = [(i, question) for i, row in enumerate(rows) for question in row["questions"]]
    answers = captioner.say(prefix[[i for i, _ in asked]], [f"Question: {q['question']} Answer:" for _, q in asked])

    known = [i for i, row in enumerate(rows) if not row["out_of_domain"]]
    unknown = [i for i, row in enumerate(rows) if row["out_of_domain"]]
    exact = [captions[i] == rows[i]["caption"] for i in known]
    print(f"\n{pack.name}: {len(rows)} pictures, {len(asked)} questions")
    print(f"  captions exactly right   {np.mean(exact):6.1%}  of {len(known)} (model in PyTorch, greedy)")
    print(f"  nouns of captions right  {np.mean([nouns_of(captions[i]) == nouns_of(rows[i]['caption']) for i in known]):6.1%}")
    right, truth, held_out = defaultdict(list), defaultdict(list), []
    for answer, (i, question) in zip(answers, asked):
        if rows[i]["out_of_domain"]:
            continue
        right[question["kind"]].append(answer == question["answer"])
        truth[question["kind"]].append(question["answer"])
        if question["heldOutWording"]:
            held_out.append(answer == question["answer"])
    print(f"  answers exactly right    {np.mean(sum(right.values(), [])):6.1%}  of {sum(map(len, right.values()))}; wordings never trained on {np.mean(held_out):.1%} of {len(held_out)}")
    for kind in sorted(right):
        common = Counter(truth[kind]).most_common(1)[0][1] / len(truth[kind])
        print(f"    {kind:14s} {np.mean(right[kind]):6.1%}  of {len(right[kind]):4d}   most common answer {common:.0%}")
    if unknown:
        sure = [answer != language.UNKNOWN_ANSWER for answer, (i, _) in zip(answers, asked) if rows[i]["out_of_domain"]]
        print(f"  out of domain: captions that claim to know {np.mean([captions[i] != language.UNKNOWN_CAPTION for i in unknown]):.1%} of {len(unknown)}, answers {np.mean(sure):.1%} of {len(sure)}")
    doubted = np.mean([captions[i] == language.UNKNOWN_CAPTION for i in known])
    print(f"  in domain, caption says it does not know: {doubted:.1%}")
    return [(rows[i]["file"], rows[i]["caption"], captions[i]) for i in known if captions[i] != rows[i]["caption"]]


def nouns_of(caption: str):
    """The nouns in a caption in singular, longest names matched first."""
    found = []
    words = caption.split(" background")[0]
    for noun in sorted(language.NOUNS, key=len, reverse=True):
        for form in {noun, language.plural(noun)}:
            while f" {form} " in f" {words.replace(',', ' ,')} ":
                words = f" {words.replace(',', ' ,')} ".replace(f" {form} ", " * ", 1).strip()
                found.append(noun)
    return sorted(found)


def main():
    parser = argparse.ArgumentParser(description="Scores an exported model on evaluation packs.")
    parser.add_argument("packs", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent.parent / "models" / "pico")
    parser.add_argument("--mistakes", type=int, default=0, help="print this many wrong captions of each pack")
    options = parser.parse_args()
    captioner = Captioner(options.model)
    for pack in options.packs:
        for file, wanted, got in score(captioner, pack)[: options.mistakes]:
            print(f"    {file}  wanted: {wanted}\n              got:    {got}")


if __name__ == "__main__":
    main()
