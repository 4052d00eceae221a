"""Trains the Q-Former and the language model of a checkpoint further, behind its frozen vision encoder.

In:  WORK/views-HASH (views.py), the checkpoint folder that made them.
Out: WORK/RUN/last.pt; the same command run again resumes. export.py makes the checkpoint folder.

    python further.py --work DIR --run further --checkpoint ../models/pico --minutes 40

Pictures are drawn and seen once, by views.py. The matching model (matcher.py) stays valid, because it shares nothing but the vision
encoder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import language
from model import Blip2
from run import Run, autocast
from scenes import Atlas, SceneSampler
from score import load_model
from train import FACTS_WEIGHT, Evaluation, facts_loss, fit_heads, pack, texts_about, tokenizer_of, words_loss
from views import map_shards, views_folder

LEARNING_RATE, WARM_STEPS, EVALUATE_EVERY = 1e-3, 60, 600


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--run", default="further")
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "../models/pico")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0 = torch decides")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    atlas, size = Atlas(options.work), load_model(options.checkpoint).size
    tokenizer: Tokenizer = tokenizer_of(options.checkpoint)
    evaluations = {designs: Evaluation(atlas, designs, tokenizer, size) for designs in ("trained", "apart")}
    torch.manual_seed(options.seed)
    model = Blip2(size)
    model.vision_model.requires_grad_(False)
    run = Run(options.work / options.run, model, Blip2(size), LEARNING_RATE, options.seed, options.minutes, {"size": "pico"})
    generator = run.generator
    if not run.resumed:
        weights = {name: weight.float() for name, weight in load_file(options.checkpoint / "model.safetensors").items()}
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected and all(name.startswith(("patch_head.", "facts.")) for name in missing), (missing, unexpected)
        fit_heads(model, atlas, SceneSampler(atlas, "trained", vary=True), generator, options.batch, "cpu")
        run.average.load_state_dict(model.state_dict())
        run.tick()

    folder, next_evaluation = views_folder(options.work, options.checkpoint), run.spent
    shards = map_shards(folder)
    while not run.done:
        shard = generator.choice(shards)
        rows = generator.sample(range(len(shard["scenes"])), options.batch)
        scenes = [shard["scenes"][row] for row in rows]
        packed = pack(tokenizer, [texts_about(generator, scene) for scene in scenes])
        facts = torch.tensor([language.facts(scene) for scene in scenes])
        with autocast("cpu"):
            queries = model.query(shard["image"][rows].float())
            parts = {"facts": facts_loss(model, queries, facts), "words": words_loss(model, model.language_projection(queries), packed)}
            loss = parts["words"] + FACTS_WEIGHT * parts["facts"]
        run.update(loss, parts, options.batch, min(1.0, run.step / WARM_STEPS) * (1 - run.progress))
        if run.step % 50 == 0:
            run.report()
        run.save_sometimes()
        if run.spent >= next_evaluation or run.done:
            next_evaluation = run.spent + EVALUATE_EVERY
            for designs, evaluation in evaluations.items():
                scores = evaluation.perceive(run.average, "cpu") | evaluation.words(run.average, "cpu")
                run.say(f"        {time.strftime('%H:%M')} {designs:10s} " + "  ".join(f"{name} {value:.1%}" for name, value in scores.items()))
            shards = map_shards(folder)  # views.py may have made more
            run.save()
            run.tick()


if __name__ == "__main__":
    main()
