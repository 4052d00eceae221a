"""Trains a model, in three stages, within a given number of minutes.

In:  WORK/art (render.mjs). Sprites are cached as WORK/atlas.pt, the tokenizer as WORK/tokenizer.json.
Out: WORK/RUN/last.pt, written every few minutes; the same command run again resumes from it.
     Losses and scores, as lines on standard output and in WORK/RUN/status.txt.

    python train.py --work DIR --run NAME --size pico --minutes 95 [--device cuda]
    python train.py --work DIR --run NAME --further ../models/pico --minutes 20    (from a checkpoint folder, without "lm-warmup")

lm-warmup  the language model learns captions and answers from the facts of scenes, without pictures (8 %)
vision     vision and Q-Former learn to predict those facts from pictures, and the noun of every patch (52 %)
joint      all parts together, from pictures to text (40 %)
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import language
from model import SIZES, Blip2, greedy, pack_mask
from run import Run, autocast, load_folder
from scenes import NOUNS, Atlas, SceneSampler, render, to_image, training_pictures

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
BOS, PAD = 2, 1  # as in OPT, where <s> 0 <pad> 1 </s> 2 <unk> 3 and texts begin with </s>
PIECES = 768
STAGES = [("lm-warmup", 0.08), ("vision", 0.52), ("joint", 0.40)]
FURTHER_STAGES = [("vision", 0.6), ("joint", 0.4)]
LEARNING_RATE = 2e-3
FURTHER = 0.6  # factor on the learning rate when training starts from a checkpoint folder
HEADS_STEPS, HEADS_RATE = 150, 4e-3  # a checkpoint folder has no heads for facts and patches; they are fitted first
QUESTIONS = 3  # for each scene
TURN_SHARES = [56, 14, 11, 10, 9]  # how often a question has so many earlier turns, 0 to language.MAX_TURNS
FACTS_WEIGHT, PATCH_WEIGHT = 0.3, 0.3  # weights beside the loss on text, in "joint"
EVALUATION_SEED, EVALUATION_SCENES = 1_000_003, 80
EVALUATE_EVERY = 900  # seconds


# ---- Text ----------------------------------------------------------------------------------------


def tokenizer_texts(sampler: SceneSampler) -> list[str]:
    """Captions and questions of scenes, for a tokenizer to be trained on."""
    generator, texts = random.Random(0), []
    for _ in range(30_000):
        scene = sampler.scene(generator)
        texts.append(language.caption(scene))
        texts += [f"Question: {q.text} Answer: {q.answer}." for q in language.scene_questions(generator, scene, 3)]
    return texts


def train_tokenizer(sampler: SceneSampler) -> Tokenizer:
    """Byte-level BPE as in GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(tokenizer_texts(sampler), trainers.BpeTrainer(vocab_size=PIECES, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    return tokenizer


def tokenizer_of(checkpoint: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder without the normalizer that export.py added."""
    tokenizer = Tokenizer(models.BPE.from_file(str(checkpoint / "vocab.json"), str(checkpoint / "merges.txt")))
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def typing_normalizer():
    """Writes what people type as the model was trained: lower case, American spelling, finished questions."""
    return normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace("question:", "Question:"),
            normalizers.Replace("answer:", "Answer:"),
            normalizers.Replace("colour", "color"),
            normalizers.Replace("grey", "gray"),
            normalizers.Replace(Regex("(?<=[a-z]) Answer:"), "? Answer:"),
        ]
    )


def texts_about(generator, scene, ask="Question: {} Answer:") -> list[tuple[str, str]]:
    """(prompt, continuation) pairs: the caption, and QUESTIONS questions with up to four earlier turns."""
    prompt = "" if generator.random() < 0.92 else generator.choice(language.CAPTION_PROMPTS)
    words = language.caption(scene)
    pairs = [(prompt, (" " if prompt else "") + words + "\n")]
    asked = language.scene_questions(generator, scene, QUESTIONS + language.MAX_TURNS)
    for question in asked[:QUESTIONS]:
        earlier = [other for other in asked if other is not question]
        turns = generator.sample(earlier, min(len(earlier), generator.choices(range(language.MAX_TURNS + 1), TURN_SHARES)[0]))
        history = "".join(f"Question: {language.typed(generator, turn.text)} Answer: {language.said(generator, turn)}. " for turn in turns)
        pairs.append((history + ask.format(language.typed(generator, question.text)), f" {question.answer}\n"))
    return pairs


def pack(tokenizer, texts_of_scenes):
    """Pairs of each scene -> ids, positions, segments [B, T], and the next token wanted at each place, -100 = none."""
    normalizer = typing_normalizer()
    flat = [text for pairs in texts_of_scenes for prompt, target in pairs for text in (normalizer.normalize_str(prompt), target)]
    encoded = iter(tokenizer.encode_batch(flat, add_special_tokens=False))
    rows = []
    for pairs in texts_of_scenes:
        row = []
        for segment, _ in enumerate(pairs):
            prompt, target = next(encoded).ids, next(encoded).ids
            ids = [BOS] + prompt + target
            row += [(ids[i], i, segment, ids[i + 1] if i >= len(prompt) else -100) for i in range(len(ids) - 1)]
        rows.append(row)
    length = -(-max(map(len, rows)) // 16) * 16
    packed = torch.tensor([row + [(PAD, 0, -1, -100)] * (length - len(row)) for row in rows])
    return packed.unbind(-1)


# ---- Losses ----------------------------------------------------------------------------------------


def words_loss(model, prefix, packed):
    ids, positions, segments, wanted = packed
    hidden = model.hidden(prefix, ids, positions, pack_mask(segments, prefix.shape[1]))
    chosen = (wanted.flatten() >= 0).nonzero()[:, 0]
    logits = model.vocabulary(hidden.flatten(0, 1).index_select(0, chosen))
    return F.cross_entropy(logits.float(), wanted.flatten()[chosen])


def facts_loss(model, queries, facts):
    """Cross-entropy of all facts. Of an absent group only its absence counts."""
    total = 0.0
    for i, logits in enumerate(model.facts.logits(queries)):
        wanted = facts[:, i]
        if i >= 2 and (i - 2) % 5:
            present = facts[:, 2 + (i - 2) // 5 * 5] > 0
            wanted = torch.where(present, wanted, -100)
        loss = F.cross_entropy(logits.float(), wanted, ignore_index=-100, reduction="sum") / len(facts)
        total = total + loss
    return total


def patch_targets(scenes, coverage, owner, patch):
    """Coverage of things [N, S, S] -> the noun of each patch [B, P-1] (0 none, -100 ignored) and the patches that hold a centre."""
    share = F.avg_pool2d(coverage[:, None], patch)[:, 0].flatten(1) if len(owner) else coverage.new_zeros(0, 1)
    side = coverage.shape[-1] // patch
    nouns = torch.zeros(len(scenes), side * side, dtype=torch.long)
    best = torch.zeros(len(scenes), side * side)
    centers = torch.zeros(len(scenes), side * side)
    t = 0
    for i, scene in enumerate(scenes):
        if scene.chaos:
            nouns[i] = len(NOUNS) + 1
        labels = [NOUNS.index(group.noun) + 1 for group in scene.groups for _ in group.things] + [len(NOUNS) + 1] * len(scene.unknown_sprites)
        for thing, label in zip(scene.things, labels):
            better = share[t] > best[i]
            nouns[i][better] = torch.where(share[t][better] > 0.3, label, -100)
            best[i] = torch.maximum(best[i], share[t])
            centers[i, min(side - 1, max(0, int(thing.y * side))) * side + min(side - 1, max(0, int(thing.x * side)))] = 1
            t += 1
    nouns[(best > 0) & (best < 0.03)] = 0
    return nouns, centers


def patch_loss(model, image, targets):
    nouns, centers = targets
    patches = image[:, 1:].float()
    noun = F.cross_entropy(model.patch_head.noun(patches).flatten(0, 1), nouns.flatten(), ignore_index=-100)
    center = F.binary_cross_entropy_with_logits(model.patch_head.center(patches)[..., 0], centers, pos_weight=torch.tensor(4.0, device=centers.device))
    return noun + 0.5 * center


# ---- Heads of a checkpoint folder, which has none ----------------------------------------------------


def fit_heads(model, atlas, sampler, generator, batch, device):
    """Trains the heads of `facts` and `patch_head` alone; the other weights are frozen."""
    heads = [*model.facts.scene.parameters(), *model.facts.group.parameters(), *model.patch_head.parameters()]
    tool = torch.optim.AdamW(heads, HEADS_RATE, weight_decay=0.0)
    for step in range(HEADS_STEPS):
        for group in tool.param_groups:
            group["lr"] = HEADS_RATE * (1 - step / HEADS_STEPS)
        scenes = [sampler.scene(generator) for _ in range(batch)]
        pictures, coverage, owner = training_pictures(generator, atlas, scenes, model.size.image)
        with autocast(device):
            with torch.no_grad():
                image, queries = model.see(((pictures - MEAN) / STD).to(device))
            targets = [part.to(device) for part in patch_targets(scenes, coverage, owner, model.size.patch)]
            facts = torch.tensor([language.facts(scene) for scene in scenes]).to(device)
            facts_part, patch_part = facts_loss(model, queries, facts), patch_loss(model, image, targets)
        (facts_part + patch_part).backward()
        tool.step()
        tool.zero_grad(set_to_none=True)
        if step % 25 == 0 or step == HEADS_STEPS - 1:
            print(f"heads  step {step}  facts {facts_part.item():.3f}  patches {patch_part.item():.3f}", flush=True)


# ---- Evaluation ----------------------------------------------------------------------------------------


class Evaluation:
    """Fresh scenes, rendered at 192 px and resized with Pillow as a user's picture is."""

    def __init__(self, atlas, designs, tokenizer, size, count=EVALUATION_SCENES):
        generator = random.Random(EVALUATION_SEED)
        sampler = SceneSampler(atlas, designs)
        self.scenes = [sampler.scene(generator) for _ in range(count)]
        pictures = render(atlas, self.scenes, 192)[0]
        resized = [to_image(picture).resize((size.image, size.image), Image.Resampling.BICUBIC) for picture in pictures]
        self.pixels = (torch.from_numpy(np.stack([np.asarray(r) for r in resized])).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
        self.facts = torch.tensor([language.facts(scene) for scene in self.scenes])
        self.questions = [language.scene_questions(generator, scene, 4, held_out_share=0.1) for scene in self.scenes]
        self.tokenizer = tokenizer

    @torch.no_grad()
    def perceive(self, model, device):
        queries = model.see(self.pixels.to(device))[1]
        guesses = torch.stack([logits.argmax(-1) for logits in model.facts.logits(queries)], 1).cpu()
        noun, count = guesses[:, 2] == self.facts[:, 2], guesses[:, 3] == self.facts[:, 3]
        known = torch.tensor([not scene.unknown for scene in self.scenes])
        all_right = (guesses[:, [0, 1, 2, 3, 7, 12]] == self.facts[:, [0, 1, 2, 3, 7, 12]]).all(1)
        return {"noun": noun[known].float().mean().item(), "count": count[known].float().mean().item(), "facts": all_right.float().mean().item()}

    @torch.no_grad()
    def words(self, model, device, blind=False):
        encode = lambda text: [BOS] + self.tokenizer.encode(text, add_special_tokens=False).ids
        newline = self.tokenizer.token_to_id("Ċ")
        decode = lambda ids: self.tokenizer.decode([i for i in ids if i != newline]).strip()
        prefix = model.facts.prefix(self.facts.to(device)) if blind else model.language_projection(model.see(self.pixels.to(device))[1])
        captions = [decode(ids) for ids in greedy(model, prefix, [[BOS]] * len(self.scenes), newline)]
        right = [a == language.caption(scene) for a, scene in zip(captions, self.scenes)]
        rows = [(i, q) for i, asked in enumerate(self.questions) for q in asked]
        answers = [decode(ids) for ids in greedy(model, prefix[[i for i, _ in rows]], [encode(f"Question: {q.text} Answer:") for _, q in rows], newline)]
        good = [a == q.answer for a, (_, q) in zip(answers, rows)]
        return {"caption": float(np.mean(right)), "question": float(np.mean(good))}


# ---- Loop ------------------------------------------------------------------------------------------------


def stage_at(stages, progress):
    """The name of the stage at progress 0..1 of the training, and the progress within it."""
    start = 0.0
    for name, share in stages:
        if progress < start + share or name == stages[-1][0]:
            return name, min(1.0, (progress - start) / share)
        start += share
    raise ValueError("no stages")


def pace(name, progress):
    """Factor on the learning rate at progress 0..1 of a stage."""
    warm = min(1.0, progress / 0.03)
    if name == "vision":
        return warm * (1 - 0.3 * progress)
    return warm * (1 - progress) * (1.0 if name == "lm-warmup" else 0.8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--run", default="pico")
    parser.add_argument("--size", choices=SIZES, default="pico")
    parser.add_argument("--minutes", type=float, default=95)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0 = torch decides")
    parser.add_argument("--further", type=Path, help="checkpoint folder to start from, at a low learning rate")
    options = parser.parse_args()
    size, device = SIZES[options.size], options.device
    if options.threads:
        torch.set_num_threads(options.threads)

    atlas = Atlas(options.work)
    sampler = SceneSampler(atlas, "trained", vary=True)
    if not (options.work / "tokenizer.json").exists():
        (tokenizer_of(options.further) if options.further else train_tokenizer(sampler)).save(str(options.work / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(options.work / "tokenizer.json"))
    evaluations = {designs: Evaluation(atlas, designs, tokenizer, size) for designs in ("trained", "apart")}

    torch.manual_seed(options.seed)
    model = Blip2(size).to(device)
    run = Run(options.work / options.run, model, Blip2(size).to(device), LEARNING_RATE, options.seed, options.minutes, {"size": options.size})
    generator = run.generator
    if options.further and not run.resumed:
        load_folder(model, options.further, ("patch_head.", "facts."))
        fit_heads(model, atlas, sampler, generator, options.batch, device)
        run.begin_again()

    stages = FURTHER_STAGES if options.further else STAGES
    next_evaluation = run.spent + EVALUATE_EVERY / 3
    while not run.done:
        name, progress = stage_at(stages, run.progress)
        scenes = [sampler.scene(generator) for _ in range(options.batch)]
        facts = torch.tensor([language.facts(scene) for scene in scenes]).to(device)
        parts = {}
        if name != "vision":
            packed = [part.to(device) for part in pack(tokenizer, [texts_about(generator, scene) for scene in scenes])]
        if name != "lm-warmup":
            pictures, coverage, owner = training_pictures(generator, atlas, scenes, size.image)
            targets = [part.to(device) for part in patch_targets(scenes, coverage, owner, size.patch)]
            pixels = ((pictures - MEAN) / STD).to(device)
        with autocast(device):
            if name == "lm-warmup":
                parts["words"] = words_loss(model, model.facts.prefix(facts), packed)
                loss = parts["words"]
            else:
                image, queries = model.see(pixels)
                parts["facts"] = facts_loss(model, queries, facts)
                parts["patches"] = patch_loss(model, image, targets)
                if name == "vision":
                    loss = parts["facts"] * 0.5 + parts["patches"]
                else:
                    parts["words"] = words_loss(model, model.language_projection(queries), packed)
                    loss = parts["words"] + FACTS_WEIGHT * parts["facts"] + PATCH_WEIGHT * parts["patches"]
        run.update(loss, parts, options.batch, pace(name, progress) * (FURTHER if options.further else 1.0))

        if run.step % 50 == 0:
            run.report(f"{name} {progress:.0%}  ")
        if run.spent >= next_evaluation or run.done:
            next_evaluation = run.spent + EVALUATE_EVERY
            run.save()
            for designs, evaluation in evaluations.items():
                scores = {} if name == "lm-warmup" else evaluation.perceive(run.average, device)
                if name != "vision":
                    scores |= evaluation.words(run.average, device, blind=name == "lm-warmup")
                run.say(f"        {time.strftime('%H:%M')} {designs:10s} " + "  ".join(f"{k} {v:.1%}" for k, v in scores.items()))
            run.tick()
        run.save_sometimes()


if __name__ == "__main__":
    main()
