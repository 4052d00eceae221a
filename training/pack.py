"""Writes an evaluation pack: pictures of fresh scenes, and scenes.jsonl, one line for each picture.

In:  the sprites of render.mjs.
Out: DIR/NNNN.png or .jpg, DIR/scenes.jsonl: {file, caption, out_of_domain, questions}.

    python pack.py --work DIR --designs trained|unseen|... --count N --seed S --out DIR [--kinds scattered ...]

Packs are drawn without the variations of training, at 192 to 384 px.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
from PIL import Image

import language
from scenes import DESIGNS, KINDS, TRAINED, Atlas, Scene, SceneSampler, Thing, render, sample_color, to_image


def plain(generator, scene):
    """Changes a scene in place to one big thing on white, black or dark grey, as chat users post."""
    group = scene.groups[0]
    group.things[0].side = generator.uniform(0.6, 0.98)
    group.things[0].x = group.things[0].y = 0.5
    name = generator.choice([name for name in ("white", "white", "black", "dark gray") if name != group.color])
    color = sample_color(generator, name)
    scene.background, scene.fill, scene.texture = name, (color, color, 0.0), 0.0


def alone(generator, sampler):
    """Each unknown icon that is kept for evaluation, alone on white or another plain background."""
    for sprite in sampler.emoji[1]:
        if sampler.atlas.entries[sprite].unknown_icon == "text":
            continue
        name = generator.choice(["white", "white", "black", "dark gray"])
        color = sample_color(generator, name)
        thing = Thing(sprite, 0.5, 0.5, generator.uniform(0.6, 0.98), 0.0, 1.0, torch.eye(3))
        yield Scene(name, "unknown", [], True, (color, color, 0.0), 0.0, 0, [thing])


def some(generator, sampler, count, kinds):
    """Fresh scenes; of single things, two in five are plain."""
    for _ in range(count):
        scene = sampler.scene(generator, kinds)
        if scene.layout == "one" and generator.random() < 0.4:
            plain(generator, scene)
        yield scene


def write_pack(sampler, count, seed, out: Path, size=224, kinds=KINDS):
    """Writes `count` pictures and their facts, or those of `alone` without a count. One in eight is a plain scene; all kinds of questions occur."""
    generator, asker = random.Random(f"pack {seed}"), random.Random(f"questions {seed}")
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    asked = {}
    with (out / "scenes.jsonl").open("w") as file:
        for i, scene in enumerate(some(generator, sampler, count, kinds) if count else alone(generator, sampler)):
            candidates = language.scene_questions(asker, scene, 4 if scene.unknown else 12, held_out_share=0.2)
            candidates.sort(key=lambda question: asked.get(question.kind, 0))
            for question in candidates[:4]:
                asked[question.kind] = asked.get(question.kind, 0) + 1
            name = f"{i + 1:04d}.png"
            picture = to_image(render(sampler.atlas, [scene], size)[0][0])
            if scene.chaos or scene.texture:
                name = f"{i + 1:04d}.jpg"
                picture.save(out / name, quality=90)
            else:
                picture.quantize(160, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out / name, optimize=True)
            line = {
                "file": name,
                "caption": language.caption(scene),
                "out_of_domain": scene.unknown,
                "questions": [{"kind": q.kind, "question": q.text, "answer": q.answer, "heldOutWording": q.held_out} for q in candidates[:4]],
            }
            file.write(json.dumps(line) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--designs", choices=DESIGNS, required=True)
    parser.add_argument("--count", type=int, default=100, help="0 = each unknown icon that training does not see, alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if not options.count and options.designs in TRAINED:
        parser.error(f"--count 0 needs designs that training does not see: {', '.join(name for name in DESIGNS if name not in TRAINED)}")
    write_pack(SceneSampler(Atlas(options.work), options.designs), options.count, options.seed, options.out, options.size, options.kinds)


if __name__ == "__main__":
    main()
