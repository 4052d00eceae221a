"""
Makes many checkpoints with their references, for `verify` of the TypeScript side. Not committed.

In:  how many random ones, the first seed; --named adds every named configuration.
Out: the layout of test/fixtures: DIR/checkpoints/NAME/, DIR/references/NAME.safetensors, DIR/references/*.png.
     A checkpoint and its references take about four seconds and 0.5 MB.

    python sweep.py --out /tmp/sweep --count 20 --seed 100
    python sweep.py --out /tmp/sweep --count 0 --named
"""

import argparse
import json
from pathlib import Path

import fixtures  # first: it sets the environment of transformers
import record
import torch
from configurations import NAMED, ON_DEMAND, named_configuration, random_configuration


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--named", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [(f"random-{seed}", random_configuration(seed), seed) for seed in seeds(arguments)]
    if arguments.named:
        rows += [(name, named_configuration(name), 1) for name in NAMED if name not in ON_DEMAND]
    pictures = fixtures.draw_pictures(arguments.out / "references")
    settings = json.loads(record.SETTINGS.read_text())
    for name, configuration, seed in rows:
        fixtures.make_pair(arguments.out, name, configuration, seed, pictures, settings)


def seeds(arguments):
    return range(arguments.seed, arguments.seed + arguments.count)


if __name__ == "__main__":
    main()
