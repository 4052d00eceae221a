"""Training scenes as the frozen vision encoder and Q-Former of a checkpoint see them, made once and read many times.

In:  WORK/art (render.mjs), a checkpoint folder.
Out: WORK/views-HASH/NNNN.pt, HASH from the checkpoint's weights: {scenes, image [N, P, D], queries [N, Q, D]}, float16.

    python views.py --work DIR --checkpoint ../models/pico --shards 24

The same command run again goes on with the first missing shard. Each shard has its own seed. Processes with RANK and WORLD_SIZE
set (run.py) share the shards.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from pathlib import Path

import torch

from run import RANK, WORLD_SIZE
from scenes import TRAINED, Atlas, SceneSampler, training_pictures
from score import load_model
from train import MEAN, STD

PER_SHARD, BATCH = 2048, 64


def views_folder(work: Path, checkpoint: Path) -> Path:
    return work / f"views-{hashlib.sha256((checkpoint / 'model.safetensors').read_bytes()).hexdigest()[:8]}"


def without_sprites(scene):
    """The facts of a scene alone."""
    for group in scene.groups:
        group.things = []
    scene.unknown_sprites = []
    return scene


@torch.no_grad()
def make_shard(model, sampler, number: int):
    generator = random.Random(f"views {number}")
    torch.manual_seed(number)
    scenes, image, queries = [], [], []
    for _ in range(PER_SHARD // BATCH):
        batch = [sampler.scene(generator) for _ in range(BATCH)]
        pictures, _, _ = training_pictures(generator, sampler.atlas, batch, model.size.image)
        seen = model.see((pictures - MEAN) / STD)
        scenes += map(without_sprites, batch)
        image.append(seen[0].half())
        queries.append(seen[1].half())
    return {"scenes": scenes, "image": torch.cat(image), "queries": torch.cat(queries)}


def map_shards(folder: Path) -> list[dict]:
    """All shards that exist, each mapped from its file: a row is read when it is used."""
    return [torch.load(path, weights_only=False, mmap=True) for path in sorted(folder.glob("*.pt"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "../models/pico")
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--designs", choices=TRAINED, default="trained", help="those that the checkpoint was trained on")
    parser.add_argument("--threads", type=int, default=0, help="0 = torch decides")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    folder = views_folder(options.work, options.checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    model, sampler = load_model(options.checkpoint), SceneSampler(Atlas(options.work), options.designs, vary=True)
    for number in range(1 + RANK, options.shards + 1, WORLD_SIZE):
        path = folder / f"{number:04d}.pt"
        if not path.exists():
            torch.save(make_shard(model, sampler, number), path.with_suffix(".tmp"))
            path.with_suffix(".tmp").rename(path)
            print(path, flush=True)


if __name__ == "__main__":
    main()
