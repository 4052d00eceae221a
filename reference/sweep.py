"""
Makes many checkpoints with their references, for `glimpse verify`. They are not committed.

In:  the number of random checkpoints, the first seed; --named adds every named configuration.
Out: DIR/checkpoints/NAME/, DIR/references/*.png, and DIR/references/NAME/PICTURE-PROMPT-SETTINGS.safetensors: one file
     for each case of settings.json without sampling. A checkpoint and its references take 12 seconds and 1 MB.

    python sweep.py --out /tmp/sweep --count 20 --seed 100
    python sweep.py --out /tmp/sweep --count 0 --named
    python sweep.py --out /tmp/sweep --count 25 --named --language t5         or llama, or instruct-t5
    python sweep.py --out /tmp/sweep --count 25 --named --language itm     one file for each picture and text, and a matrix
    python sweep.py --out /tmp/sweep --count 5 --kind features   with --language t5 too: one file for each picture and text
    python sweep.py --out /tmp/sweep --count 4 --settings 60     random settings instead of settings.json
    npx glimpse verify ARTIFACT /tmp/sweep/references/NAME/* --pictures /tmp/sweep/references
"""

import argparse
import random
from pathlib import Path

import fixtures  # first: it sets the environment of transformers
import record
import torch
from configurations import (
    NAMED,
    ON_DEMAND,
    group_of,
    named_configuration,
    random_configuration,
    random_instruct_t5_configuration,
    random_itm_configuration,
    random_llama_configuration,
    random_t5_configuration,
)
from make_checkpoint import make_checkpoint

# The groups of configurations.py that --language chooses.
DRAW = {
    "opt": random_configuration,
    "t5": random_t5_configuration,
    "itm": random_itm_configuration,
    "llama": random_llama_configuration,
    "instruct-t5": random_instruct_t5_configuration,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--named", action="store_true")
    parser.add_argument("--settings", type=int, metavar="COUNT", help="random settings for each checkpoint")
    parser.add_argument("--language", choices=DRAW, default="opt", help="of the random and the named ones")
    parser.add_argument("--kind", choices=("features",), help="default: generate, or itm and matrix")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    language = arguments.language
    prefix = "random" if language == "opt" else f"random-{language}"
    rows = [(f"{prefix}-{seed}", DRAW[language](seed), seed) for seed in seeds(arguments)]
    if arguments.named:
        names = [name for name in NAMED if name not in ON_DEMAND and group_of(name) == language]
        rows += [(name, named_configuration(name), 1) for name in names]
    pictures = fixtures.draw_pictures(arguments.out / "references")
    settings = [generation for generation in fixtures.SETTINGS.values() if not generation.get("do_sample")]
    for name, configuration, seed in rows:
        if arguments.settings:
            settings = random_settings(seed, arguments.settings)
        checkpoint, folder = arguments.out / "checkpoints" / name, arguments.out / "references" / name
        make_checkpoint(checkpoint, configuration, seed)
        recorder = record.Recorder(checkpoint, arguments.kind)
        if recorder.kind == "generate":
            record.record_all(recorder, pictures, fixtures.PROMPTS, settings, folder)
        else:
            texts = fixtures.TEXTS if language == "itm" else fixtures.PROMPTS
            record.record_all(recorder, pictures, texts, [{}], folder)
        if language == "itm":
            record.save(folder / "matrix.safetensors", *recorder.matrix(pictures, fixtures.TEXTS))
        print(folder, flush=True)


def random_settings(seed, count):
    """Returns `count` random combinations of deterministic arguments of generate."""
    generator = random.Random(seed)
    sometimes = lambda share, values: generator.choice(values) if generator.random() < share else None
    drawn = []
    for _ in range(count):
        beams = sometimes(0.7, [2, 3, 4, 5, 7])
        asked = {
            "max_new_tokens": generator.randint(1, 24),
            "num_beams": beams,
            "num_return_sequences": beams and sometimes(0.4, range(1, beams + 1)),
            "length_penalty": beams and sometimes(0.6, [-2.0, -1.0, -0.3, 0.0, 0.5, 1.7, 3.0]),
            "early_stopping": beams and sometimes(0.6, [True, False, "never"]),
            "min_new_tokens": sometimes(0.3, [0, 1, 4, 9]),
            "min_length": sometimes(0.3, [0, 12, 25, 40, 60]),
            "no_repeat_ngram_size": sometimes(0.4, [1, 2, 3, 4]),
            "repetition_penalty": sometimes(0.4, [0.6, 0.9, 1.1, 1.5, 3.0]),
            "eos_token_id": sometimes(0.5, [121, [2, 202], list(range(4, 290, 11)), list(range(3, 290, 40))]),
        }
        drawn.append({name: value for name, value in asked.items() if value is not None})
    return drawn


def seeds(arguments):
    return range(arguments.seed, arguments.seed + arguments.count)


if __name__ == "__main__":
    main()
