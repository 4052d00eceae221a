"""Writes an evaluation pack for matching: pictures, their captions, and captions with one word changed so that they are false.

In:  WORK/art (render.mjs).
Out: DIR/NNNN.png and DIR/matching.jsonl, one line for each picture: {file, caption, alsoTrueOf, changed: [{kind, text, alone}], alone}.

    python matching_pack.py --work DIR --designs seen --count 1000 --seed 301 --out DIR

`alsoTrueOf` lists the other pictures of the pack, by their line, for which the caption is true. `alone` is the probability of being
true that a model of language alone gives the text: logistic regression on words and pairs of words, trained on 30,000 true texts
and as many changed ones. A score near this one owes nothing to the pictures.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from zlib import crc32

import torch
import torch.nn.functional as F

from scenes import DESIGNS, Atlas, SceneSampler, render, to_image
from statements import SWAPS, Swapper, flipped, holds, statement_of

FEATURES, TEXTS = 1 << 16, 30_000


def changes(generator, swapper, statement, scene):
    """(kind, text) of the statement with one word of each kind changed, where it has such a word."""
    made = [(kind, swapper.swap(generator, statement, scene, kind)) for kind in SWAPS]
    return [(kind, changed.text()) for kind, changed in made if changed]


class LanguageAlone:
    def __init__(self, sampler, swapper):
        generator = random.Random(7)
        texts, labels = [], []
        while len(texts) < 2 * TEXTS:
            scene = sampler.scene(generator)
            if scene.unknown:
                continue
            statement = flipped(generator, statement_of(scene))
            made = changes(generator, swapper, statement, scene)
            if made:
                texts += [statement.text(), generator.choice(made)[1]]
                labels += [1.0, 0.0]
        self.weights = torch.nn.EmbeddingBag(FEATURES, 1, mode="sum")
        torch.nn.init.zeros_(self.weights.weight)
        tool, labels = torch.optim.Adam(self.weights.parameters(), 0.01), torch.tensor(labels)
        encoded = [self.encode(text) for text in texts]
        for _ in range(4):
            for rows in torch.randperm(len(texts)).split(512):
                F.binary_cross_entropy_with_logits(self.logits([encoded[i] for i in rows]), labels[rows]).backward()
                tool.step()
                tool.zero_grad()

    @staticmethod
    def encode(text):
        words = text.split()
        return torch.tensor([crc32(part.encode()) % FEATURES for part in [*words, *(f"{a} {b}" for i, a in enumerate(words) for b in words[i + 1 :])]])

    def logits(self, encoded):
        return self.weights(torch.cat(encoded), torch.tensor([0, *map(len, encoded)][:-1]).cumsum(0))[:, 0]

    @torch.no_grad()
    def probability(self, text):
        return round(self.logits([self.encode(text)]).sigmoid().item(), 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--designs", choices=DESIGNS, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    generator, atlas = random.Random(f"matching pack {options.seed}"), Atlas(options.work)
    torch.manual_seed(options.seed)
    usual, sampler = SceneSampler(atlas, "trained"), SceneSampler(atlas, options.designs)
    swapper = Swapper([usual.scene(random.Random(i)) for i in range(8000)])
    alone = LanguageAlone(usual, swapper)
    scenes = []
    while len(scenes) < options.count:
        scene = sampler.scene(generator)
        if not scene.unknown:
            scenes.append(scene)
    statements = [flipped(generator, statement_of(scene)) for scene in scenes]
    with (options.out / "matching.jsonl").open("w") as file:
        for i, (scene, statement) in enumerate(zip(scenes, statements)):
            name = f"{i + 1:04d}.png"
            to_image(render(atlas, [scene], options.size)[0][0]).save(options.out / name)
            also = [j for j, other in enumerate(scenes) if j != i and holds(statement, other) is True]
            changed = [{"kind": kind, "text": text, "alone": alone.probability(text)} for kind, text in changes(generator, swapper, statement, scene)]
            file.write(json.dumps({"file": name, "caption": statement.text(), "alsoTrueOf": also, "changed": changed, "alone": alone.probability(statement.text())}) + "\n")


if __name__ == "__main__":
    main()
