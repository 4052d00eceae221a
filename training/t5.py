"""Trains a T5 variant of the embedded model: a small gated T5 and its projection behind a frozen vision encoder and Q-Former.

In:  WORK/views-HASH (views.py), the checkpoint folder that made them.
Out: WORK/RUN/last.pt; the same command run again resumes. With --out, the checkpoint folder instead, in float16.

    python t5.py --work DIR --run t5 --minutes 60
    python t5.py --work DIR --run t5 --out DIR/pico-t5

The language model is transformers' own, with a head that is not tied to the embeddings and no scale of the output, as in Flan-T5.
Its checkpoint shows what int8 and int4 cost an encoder-decoder: `glimpse build`, then `glimpse evaluate`.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import string
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import T5Config, T5ForConditionalGeneration

import language
from matcher import by_length
from run import Run
from scenes import DESIGNS, Atlas, SceneSampler
from score import load_model
from train import Evaluation, texts_about, tokenizer_texts
from views import map_shards, views_folder

PAD, END, UNKNOWN, PIECES = 0, 1, 2, 448  # most pieces, <image> included
ASK = "Question: {} Short answer:"
CONFIG = {
    "vocab_size": PIECES, "d_model": 192, "d_kv": 64, "num_heads": 3, "d_ff": 512, "num_layers": 2, "num_decoder_layers": 2, "feed_forward_proj": "gated-gelu",
    "dense_act_fn": "gelu", "tie_word_embeddings": False, "dropout_rate": 0.0, "pad_token_id": PAD, "eos_token_id": END, "bos_token_id": END, "decoder_start_token_id": PAD,
}  # fmt: skip
LEARNING_RATE, SCENES, EVALUATE_EVERY = 2e-3, 24, 1200


def word_unigram(sampler) -> Tokenizer:
    """Unigram with SentencePiece's spaces, as in T5: a piece for each word of the texts, by how common it is, and for each letter."""
    texts = Counter(word for text in tokenizer_texts(sampler) for word in re.findall(r"[a-z]+|[^a-z ]", text.lower().replace("answer:", "short answer:", 1)))
    total = sum(texts.values())
    scores = {("▁" + word if word.isalpha() else word): math.log(count / total) for word, count in texts.items()}
    scores |= {"▁answer": scores["▁short"]} | {letter: -20.0 for letter in ["▁", *string.ascii_lowercase, *string.digits, *string.punctuation] if letter not in scores}
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *sorted(scores.items(), key=lambda piece: -piece[1])]
    assert len(pieces) < PIECES, len(pieces)
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=UNKNOWN, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace("colour", "color"), normalizers.Replace("grey", "gray"), normalizers.Replace(Regex("(?<=[a-z]) short answer:"), "? short answer:")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", END)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", "<image>"])
    return tokenizer


class T5(nn.Module):
    """Queries [B, Q, D] and prompts to texts."""

    def __init__(self, width: int):
        super().__init__()
        self.language_projection = nn.Linear(width, CONFIG["d_model"])
        self.language_model = T5ForConditionalGeneration(T5Config(**{key: value for key, value in CONFIG.items() if key != "tie_word_embeddings"}))
        # transformers 5 ties the head of every new T5; a parameter of its own is what Flan-T5 has.
        head = torch.randn(CONFIG["vocab_size"], CONFIG["d_model"]) * CONFIG["d_model"] ** -0.5
        self.language_model.lm_head.weight = nn.Parameter(head)
        self.language_model.config.scale_decoder_outputs = False

    def inputs(self, queries, prompts):
        length = max(map(len, prompts))
        ids = torch.tensor([prompt + [PAD] * (length - len(prompt)) for prompt in prompts])
        prefix = self.language_projection(queries)
        mask = torch.cat([torch.ones(prefix.shape[:2], dtype=torch.long), torch.tensor([[1] * len(p) + [0] * (length - len(p)) for p in prompts])], 1)
        return {"inputs_embeds": torch.cat([prefix, self.language_model.shared(ids)], 1), "attention_mask": mask}

    def loss(self, queries, prompts, targets):
        length = max(map(len, targets))
        labels = torch.tensor([target + [-100] * (length - len(target)) for target in targets])
        begun = torch.tensor([[PAD, *target[:-1]] + [PAD] * (length - len(target)) for target in targets])
        logits = self.language_model(**self.inputs(queries, prompts), decoder_input_ids=begun).logits
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum"), sum(map(len, targets))

    @torch.no_grad()
    def say(self, queries, prompts, tokenizer):
        out = [""] * len(prompts)
        for group in by_length(prompts, -(-len(prompts) // 64)):
            ids = self.language_model.generate(**self.inputs(queries[group], [prompts[i] for i in group]), max_new_tokens=24, do_sample=False)
            for i, row in zip(group, ids.tolist()):
                out[i] = tokenizer.decode(row, skip_special_tokens=True).strip()
        return out


def scores(model, tower, evaluation: Evaluation, tokenizer):
    with torch.no_grad():
        queries = tower.see(evaluation.pixels)[1]
    encode = lambda text: tokenizer.encode(text).ids
    captions = model.say(queries, [encode("")] * len(queries), tokenizer)
    rows = [(i, q) for i, asked in enumerate(evaluation.questions) for q in asked]
    answers = model.say(queries[[i for i, _ in rows]], [encode(ASK.format(q.text)) for _, q in rows], tokenizer)
    return {"caption": np.mean([a == language.caption(scene) for a, scene in zip(captions, evaluation.scenes)]), "question": np.mean([a == q.answer for a, (_, q) in zip(answers, rows)])}


def write_json(path: Path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def export(options, model, tokenizer):
    """A checkpoint folder with the layout of Salesforce/blip2-flan-t5-xl."""
    options.out.mkdir(parents=True, exist_ok=True)
    saved = torch.load(options.work / options.run / "last.pt", map_location="cpu", weights_only=False)
    model.load_state_dict(saved["average"])
    config = json.loads((options.checkpoint / "config.json").read_text())
    config |= {"image_token_index": tokenizer.token_to_id("<image>"), "use_decoder_only_language_model": False, "is_encoder_decoder": True, "tie_word_embeddings": False, "text_config": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], **CONFIG}}
    write_json(options.out / "config.json", config)
    write_json(options.out / "generation_config.json", {"bos_token_id": END, "eos_token_id": END, "pad_token_id": PAD, "decoder_start_token_id": PAD})
    for name in ("preprocessor_config.json", "processor_config.json", "words.json"):
        shutil.copyfile(options.checkpoint / name, options.out / name)
    tokenizer.save(str(options.out / "tokenizer.json"))
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(options.out / "tokenizer_config.json", {**names, "extra_ids": 0, "model_max_length": 512, "processor_class": "Blip2Processor", "tokenizer_class": "T5TokenizerFast"})
    write_json(options.out / "special_tokens_map.json", names)
    weights = {name: weight for name, weight in load_file(options.checkpoint / "model.safetensors").items() if not name.startswith(("language_model.", "language_projection."))}
    weights |= {name: weight.half().contiguous() for name, weight in model.state_dict().items() if not name.endswith("coder.embed_tokens.weight")}
    save_file(weights, str(options.out / "model.safetensors"), metadata={"format": "pt"})
    print(f"{sum(weight.numel() for weight in weights.values()) / 1e6:.2f} M parameters after {saved['spent'] / 60:.0f} minutes, {saved['step']} steps -> {options.out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--run", default="t5")
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "../models/pico")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=["trained", "apart"], help="to evaluate on")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0 = torch decides")
    parser.add_argument("--out", type=Path, help="writes the checkpoint folder of a trained run")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    atlas, tower = Atlas(options.work), load_model(options.checkpoint)
    if not (options.work / "unigram.json").exists():
        word_unigram(SceneSampler(atlas, "trained", vary=True)).save(str(options.work / "unigram.json"))
    tokenizer = Tokenizer.from_file(str(options.work / "unigram.json"))
    torch.manual_seed(options.seed)
    model = T5(tower.size.width)
    if options.out:
        export(options, model, tokenizer)
        return
    evaluations = {designs: Evaluation(atlas, designs, tokenizer, tower.size) for designs in options.designs}
    views = map_shards(views_folder(options.work, options.checkpoint))
    run = Run(options.work / options.run, model, T5(tower.size.width), LEARNING_RATE, options.seed, options.minutes)
    generator, next_evaluation = run.generator, run.spent + EVALUATE_EVERY
    while not run.done:
        shard = generator.choice(views)
        rows = generator.sample(range(len(shard["scenes"])), SCENES)
        pairs = [(i, prompt, target.strip()) for i in rows for prompt, target in texts_about(generator, shard["scenes"][i], ASK)]
        prompts, targets = ([encoding.ids for encoding in tokenizer.encode_batch(texts)] for texts in ([p for _, p, _ in pairs], [t for _, _, t in pairs]))
        queries, total, count = shard["queries"], 0.0, 0
        for group in by_length(prompts, 3):
            loss, words = model.loss(queries[[pairs[i][0] for i in group]].float(), [prompts[i] for i in group], [targets[i] for i in group])
            total, count = total + loss, count + words
        run.update(total / count, {"words": total.detach() / count}, SCENES, min(1.0, run.step / 60) * (1 - run.progress))
        if run.step % 100 == 0:
            run.report()
        run.save_sometimes()
        if run.spent >= next_evaluation or run.done:
            next_evaluation = run.spent + EVALUATE_EVERY
            for designs, evaluation in evaluations.items():
                run.say(f"        {time.strftime('%H:%M')} {designs:10s} " + "  ".join(f"{key} {value:.1%}" for key, value in scores(run.average, tower, evaluation, tokenizer).items()))
            run.tick()


if __name__ == "__main__":
    main()
