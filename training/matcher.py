"""Trains the matching model: a Q-Former with text behind the frozen vision encoder of a checkpoint.

In:  WORK/views-HASH (views.py), the checkpoint folder whose tower made them.
Out: WORK/RUN/last.pt; the same command run again resumes. export.py --matcher writes it as a checkpoint folder.

    python matcher.py --work DIR --run itm --minutes 150
    python matcher.py --work DIR --run itm --minutes 40 --further ../models/pico-itm    (behind another vision encoder)

The names of the parameters are those of transformers' Blip2ForImageTextRetrieval. Losses, as in BLIP-2's first stage:
  contrastive  picture and text, in one packed pass with generation; other true pairs of the batch are masked
  generation   the words of the text one by one, from the queries
  matching     true texts against texts with one word changed, and against the most similar false pairs of the batch
and two of our own, which make a short training possible:
  words        which of the words are false, read off the text rows of the matching pass
  attraction   in the last two layers, queries that show a thing attend to its name; without it matching overlooks nouns, of
               which there are too many to be found by one bit a pair

B pictures, P patches + 1, Q queries, T words, N pairs, D width.
"""

from __future__ import annotations

import argparse
import difflib
import math
import random
import string
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from language import plural
from model import Named, Qformer, Size
from run import Run, load_folder
from scenes import DESIGNS, NOUNS, Atlas, SceneSampler, render, to_image
from score import load_model, pixels_of
from statements import AXIS, SWAPS, Swapper, describe, flipped, holds, mistyped, statement_of, vocabulary_words
from views import map_shards, views_folder

ATTRACTED = [2, 3]  # layers
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
PAD, CLS, SEP, DEC = 0, 2, 3, 5
POSITIONS, FEATURES, LAYERS = 64, 64, 4
LEARNING_RATE, MATRIX_RATE, EMA = 2e-3, 2e-3, 0.995
FURTHER = 0.75  # factor on the learning rate when training starts from a matcher
FURTHER_SCALE = 30.0  # and the scale of similarities then, which a checkpoint folder has not
BATCH, MATCHED, HARD = 40, 28, 8  # scenes a step, those of them that are matched, and similar false pairs
TWICE = 0.4  # part of the false texts that have a second word changed: more false words to learn from in one pass
MATCHING_FROM = 0.06  # part of the time after which matching begins
MISTYPED = 0.04
RELATED = 0.5  # part of the scenes of which the one with a relation between two groups is taken, if one of two has it
# How often a kind of changed word is tried first; relations and colours exist in few statements.
SWAP_SHARES = {"background": 0.5, "count": 0.8, "noun": 4.0, "color": 1.5, "relation": 4.0, "exchange": 0.4}
EVALUATE_EVERY, EVALUATION_SCENES = 1800, 160


def word_tokenizer() -> Tokenizer:
    """WordPiece as in BERT: every word of the statements is a piece, other words are spelled by letters."""
    marks = list(string.ascii_lowercase + string.digits + string.punctuation)
    pieces = [*SPECIALS, *dict.fromkeys([*vocabulary_words(), *marks, *("##" + mark for mark in marks)])]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)])
    return tokenizer


class Matcher(nn.Module):
    def __init__(self, size: Size, vocabulary: int):
        super().__init__()
        d = size.width
        self.size = replace(size, qformer_layers=LAYERS)
        self.query_tokens = nn.Parameter(torch.randn(1, size.queries, d))
        self.embeddings = Named(word_embeddings=nn.Embedding(vocabulary, d), position_embeddings=nn.Embedding(POSITIONS, d))
        self.qformer = Qformer(self.size, text=True)
        self.vision_projection, self.text_projection = nn.Linear(d, FEATURES), nn.Linear(d, FEATURES)
        self.itm_head = nn.Linear(d, 2)
        # For training alone; the names begin with "only_".
        self.only_word_head = nn.Linear(d, 1)
        self.only_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        for table in (self.embeddings.word_embeddings, self.embeddings.position_embeddings):
            nn.init.normal_(table.weight, std=0.05)

    def start_from(self, weights: dict[str, torch.Tensor]):
        """The Q-Former of a generating checkpoint; text branches start as the query branches, further layers as the last of their kind."""
        own = self.state_dict()
        have = {int(name.split(".")[3]) for name in weights if name.startswith("qformer.encoder.layer.")}
        for name in own:
            source = name.replace(".intermediate.", ".intermediate_query.")
            if ".output." in name and ".attention." not in name and ".crossattention." not in name:
                source = source.replace(".output.", ".output_query.")
            parts = source.split(".")
            if name.startswith("qformer.encoder.layer.") and int(parts[3]) not in have:
                i = int(parts[3])
                parts[3] = str(max(j for j in have if (j - i) % self.size.cross_every == 0))
            source = ".".join(parts)
            if source in weights and own[name].shape == weights[source].shape:
                own[name] = weights[source].float()
        self.load_state_dict(own)

    def words(self, ids):
        return self.embeddings.word_embeddings(ids) + self.embeddings.position_embeddings.weight[: ids.shape[1]]

    def contrast(self, keys, ids, generate=True, states=None):
        """One pass for three readings. Keys of the pictures (Qformer.keys), each [B, P, D], and ids [B, T] with [CLS] in front -> queries [B, Q, D],
        the text's first row [B, D], and hidden states of the generated text [B, T, D] (None without `generate`)."""
        count, length = self.size.queries, ids.shape[1]
        begun = torch.cat([torch.full_like(ids[:, :1], DEC), ids[:, 1:]], 1)
        x = torch.cat([self.query_tokens.expand(len(ids), -1, -1), self.words(ids), *([self.words(begun)] if generate else [])], 1)
        kind = torch.cat([torch.zeros(count), torch.ones(length), *([torch.full((length,), 2)] if generate else [])])
        causal = torch.ones(len(kind), len(kind), dtype=torch.bool).tril()
        allowed = (kind[:, None] == kind) & ((kind != 2)[None] | causal) | ((kind == 2)[:, None] & (kind == 0)[None])
        real = torch.cat([torch.ones(len(ids), count, dtype=torch.bool), *[ids != PAD] * (2 if generate else 1)], 1)
        mask = allowed[None] & real[:, None, :] | torch.eye(len(kind), dtype=torch.bool)
        x = self.qformer(x, keys, count, mask[:, None], states)
        return x[:, :count], x[:, count], x[:, count + length :] if generate else None

    def match(self, keys, ids, states=None):
        """Keys of the pictures (Qformer.keys), each [N, P, D], and ids [N, T] -> logits [N, 2], text rows [N, T, D]."""
        count = self.size.queries
        x = torch.cat([self.query_tokens.expand(len(ids), -1, -1), self.words(ids)], 1)
        real = torch.cat([torch.ones(len(ids), count, dtype=torch.bool), ids != PAD], 1)
        x = self.qformer(x, keys, count, real[:, None, None], states)
        return self.itm_head(x[:, :count]).mean(1), x[:, count:]

    def attraction(self, layer, queries, words):
        """How much the queries [B, Q, D] of each picture would attend to each of the words [W, D] in a layer: the greatest score, [B, W]."""
        attention, heads = self.qformer.encoder.layer[layer].attention.attention, self.size.heads
        asked, offered = attention.query(queries).unflatten(-1, (heads, -1)), attention.key(words).unflatten(-1, (heads, -1))
        return (torch.einsum("bqhd,whd->bwqh", asked, offered) * asked.shape[-1] ** -0.5).flatten(2).amax(-1)

    def attention_to_words(self, layer, x, ids):
        """How much of its attention the most attentive head of a query gives to each word, in a layer whose input is x: [N, T]."""
        attention, heads, count = self.qformer.encoder.layer[layer].attention.attention, self.size.heads, self.size.queries
        asked, offered = attention.query(x[:, :count]).unflatten(-1, (heads, -1)), attention.key(x).unflatten(-1, (heads, -1))
        scores = torch.einsum("bqhd,bkhd->bhqk", asked, offered) * asked.shape[-1] ** -0.5
        padding = torch.cat([torch.zeros(len(ids), count, dtype=torch.bool), ids == PAD], 1)
        return scores.masked_fill(padding[:, None, None], float("-inf")).softmax(-1)[..., count:].amax((1, 2))

    def features(self, queries, first):
        return F.normalize(self.vision_projection(queries), dim=-1), F.normalize(self.text_projection(first), dim=-1)


def chosen(keys, rows):
    """Keys of these pictures."""
    return [pair and (pair[0][rows], pair[1][rows]) for pair in keys]


def similarities(image_features, text_features):
    """[I, Q, E] x [T, E] -> [I, T]: the most similar query counts."""
    return torch.einsum("iqe,te->iqt", image_features, text_features).amax(1)


def padded(rows):
    length = max(map(len, rows))
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


def by_length(rows, parts):
    """Row numbers in `parts` groups of similar length, so that little is padded."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    size = -(-len(order) // parts)
    return [order[i : i + size] for i in range(0, len(order), size)]


def false_words(true_ids, false_ids):
    """1 for each id of the false text that the true text has not at that place."""
    labels = [0] * len(false_ids)
    for kind, _, _, start, end in difflib.SequenceMatcher(None, true_ids, false_ids, autojunk=False).get_opcodes():
        if kind != "equal":
            labels[start : max(end, start + (kind == "delete"))] = [1] * max(end - start, int(kind == "delete"))
    return labels[: len(false_ids)]


class Lesson:
    """Scenes of a step, a true statement of each, and which statements are true of which scene."""

    def __init__(self, generator, scenes, swapper, encode):
        self.statements = [describe(generator, scene) for scene in scenes]
        texts = [statement.text() for statement in self.statements]
        self.ids = encode(texts)
        self.typed = encode([mistyped(generator, text) if generator.random() < MISTYPED else text for text in texts])
        self.shown = [{last_word(group.noun) for group in scene.groups} for scene in scenes]
        self.truth = [[True if i == j else holds(statement, scene) for j, statement in enumerate(self.statements)] for i, scene in enumerate(scenes)]
        swapped = [self.swapped(generator, swapper, statement, scene) for statement, scene in zip(self.statements, scenes)]
        self.changed = [i for i, statement in enumerate(swapped) if statement]
        self.changed_ids = encode([swapped[i].text() for i in self.changed])

    @staticmethod
    def swapped(generator, swapper, statement, scene):
        if scene.unknown:
            return None
        for kind in sorted(SWAP_SHARES, key=lambda kind: -(generator.random() ** (1 / SWAP_SHARES[kind]))):
            changed = swapper.swap(generator, statement, scene, kind, tries=6)
            if changed and generator.random() < TWICE:
                return swapper.swap(generator, changed, scene, generator.choice(list(SWAP_SHARES)), tries=6) or changed
            if changed:
                return changed
        return None


def last_word(noun):
    return noun.split()[-1]


def noun_pieces(tokenizer):
    """Piece -> the noun's last word in the singular, which is its class."""
    return {tokenizer.token_to_id(last_word(form)): last_word(noun) for noun in NOUNS for form in (noun, plural(noun))}


def contrast_losses(model, keys, lesson, nouns):
    """Contrastive, generation and attraction loss of a step, and similarities [pictures, texts], scaled, for hard negatives."""
    queries, firsts, words, count = [None] * len(lesson.typed), [None] * len(lesson.typed), 0.0, 0
    inner, named, classes = {layer: [None] * len(lesson.typed) for layer in ATTRACTED}, {layer: [] for layer in ATTRACTED}, []
    for rows in by_length(lesson.typed, 2):
        ids, states = padded([lesson.typed[i] for i in rows]), []
        seen, first, hidden = model.contrast(chosen(keys, rows), ids, states=states)
        for at, i in enumerate(rows):
            queries[i], firsts[i] = seen[at], first[at]
            for layer in ATTRACTED:
                inner[layer][i] = states[layer][at, : model.size.queries]
        places = [(at, place, nouns[piece]) for at, row in enumerate(ids.tolist()) for place, piece in enumerate(row) if piece in nouns]
        classes += [noun for _, _, noun in places]
        for layer in ATTRACTED:
            named[layer].append(states[layer][[at for at, _, _ in places], [model.size.queries + place for _, place, _ in places]])
        real = (ids[:, 1:] != PAD).flatten().nonzero()[:, 0]
        logits = F.linear(hidden[:, :-1].flatten(0, 1)[real], model.embeddings.word_embeddings.weight)
        words = words + F.cross_entropy(logits, ids[:, 1:].flatten()[real], reduction="sum")
        count += len(real)
    scaled = similarities(*model.features(torch.stack(queries), torch.stack(firsts))) * model.only_scale.exp().clamp(max=100)
    false = torch.tensor([[truth is False for truth in row] for row in lesson.truth])
    masked = scaled.masked_fill(~(false | torch.eye(len(false), dtype=torch.bool)), -1e4)
    wanted = torch.arange(len(scaled))
    contrastive = (F.cross_entropy(masked, wanted) + F.cross_entropy(masked.T, wanted)) / 2
    there = torch.tensor([[noun in shown for noun in classes] for shown in lesson.shown])
    attraction = sum(attraction_loss(model.attraction(layer, torch.stack(inner[layer]), torch.cat(named[layer])), there) for layer in ATTRACTED)
    return contrastive, words / count, attraction, scaled.detach().masked_fill(~false, -1e4)


def attraction_loss(scores, there):
    """Scores [pictures, words] should be greatest where the word's thing is in the picture, among pictures and among words."""
    true = scores.masked_fill(~there, -1e4)
    among_pictures = (scores.logsumexp(0) - true.logsumexp(0))[there.any(0)]
    among_words = (scores.logsumexp(1) - true.logsumexp(1))[there.any(1)]
    return (among_pictures.mean() + among_words.mean()) / 2


def matching_losses(model, keys, lesson, hard, nouns):
    """Matching loss and the loss of the false words. `hard` [pictures, texts]: similarity of false pairs."""
    pairs = [(i, ids, 1, [0] * len(ids), 1.2) for i, ids in enumerate(lesson.ids[:MATCHED])]
    pairs += [(i, ids, 0, false_words(lesson.ids[i], ids), 1.0) for i, ids in zip(lesson.changed, lesson.changed_ids) if i < MATCHED]
    # Half of them are the most similar texts of a picture, half the most similar pictures of a text.
    rows = torch.randperm(len(lesson.ids))[:HARD]
    texts, pictures = torch.multinomial(hard.softmax(1)[rows], 1)[:, 0].tolist(), torch.multinomial(hard.T.softmax(1)[rows], 1)[:, 0].tolist()
    similar = [(i, j) for i, j in zip(rows[::2].tolist(), texts[::2])] + [(j, i) for i, j in zip(rows[1::2].tolist(), pictures[1::2])]
    pairs += [(picture, lesson.ids[text], 0, None, 1.0) for picture, text in similar if lesson.truth[picture][text] is False]
    match, weight, words, count, attraction = 0.0, 0.0, 0.0, 0, 0.0
    for group in by_length([ids for _, ids, _, _, _ in pairs], 3):
        some = [pairs[i] for i in group]
        at = torch.tensor([picture for picture, *_ in some])
        ids = padded([ids for _, ids, _, _, _ in some])
        states = []
        logits, rows = model.match(chosen(keys, at), ids, states)
        attraction = attraction + naming_loss(model, states, ids, [lesson.shown[picture] for picture, *_ in some], nouns)
        weights = torch.tensor([weight for *_, weight in some])
        match = match + (F.cross_entropy(logits, torch.tensor([label for _, _, label, _, _ in some]), reduction="none") * weights).sum()
        weight += weights.sum().item()
        labels = torch.full(ids.shape, -1.0)
        for row, (_, _, _, marks, _) in enumerate(some):
            if marks is not None:
                labels[row, : len(marks)] = torch.tensor(marks, dtype=torch.float)
        marked = labels >= 0
        words = words + F.binary_cross_entropy_with_logits(model.only_word_head(rows[marked])[:, 0], labels[marked], pos_weight=torch.tensor(4.0), reduction="sum")
        count += marked.sum().item()
    return match / weight, words / count, attraction / 3


def naming_loss(model, states, ids, shown, nouns):
    """`attraction` in the pass of matching: attention goes to the names of things that are shown, and to no others."""
    places = [(at, place, nouns[piece]) for at, row in enumerate(ids.tolist()) for place, piece in enumerate(row) if piece in nouns]
    if not places:
        return 0.0
    at, place = torch.tensor([i for i, _, _ in places]), torch.tensor([i for _, i, _ in places])
    there = torch.tensor([[noun in things for _, _, noun in places] for things in shown])
    loss = 0.0
    for layer in ATTRACTED:
        x = states[layer]
        loss = loss + attraction_loss(model.attraction(layer, x[:, : model.size.queries], x[at, model.size.queries + place]), there) / 2
        share = model.attention_to_words(layer, x, ids)[at, place].clamp(1e-4, 1 - 1e-4)
        loss = loss + F.binary_cross_entropy(share, there[at, torch.arange(len(at))].float())
    return loss


class MatchingEvaluation:
    """Fresh scenes, rendered at 192 px and resized with Pillow, their captions, and captions with one word changed."""

    def __init__(self, atlas, tower, designs, swapper, encode):
        generator, sampler = random.Random(f"matching {designs}"), SceneSampler(atlas, designs)
        scenes = []
        while len(scenes) < EVALUATION_SCENES:
            scene = sampler.scene(generator)
            if not scene.unknown:
                scenes.append(scene)
        pictures = [to_image(render(atlas, [scene], 192)[0][0]) for scene in scenes]
        with torch.no_grad():
            self.image = torch.cat([tower.vision_model(part) for part in pixels_of(pictures, tower.size.image).split(64)])
        statements = [flipped(generator, statement_of(scene)) for scene in scenes]
        self.ids = encode([statement.text() for statement in statements])
        self.truth = torch.eye(len(scenes), dtype=torch.bool) | torch.tensor([[holds(statement, scene) is True for statement in statements] for scene in scenes])
        changed = [(kind, i, swapper.swap(generator, statement, scene, kind)) for kind in SWAPS for i, (statement, scene) in enumerate(zip(statements, scenes))]
        changed = [row for row in changed if row[2]]
        self.kinds, self.rows = [kind for kind, _, _ in changed], [i for _, i, _ in changed]
        self.changed_ids = encode([statement.text() for _, _, statement in changed])

    @torch.no_grad()
    def probabilities(self, model, rows, texts):
        out = torch.empty(len(rows))
        keys = model.qformer.keys(self.image)
        for group in by_length(texts, -(-len(texts) // 128)):
            at = torch.tensor([rows[i] for i in group])
            logits, _ = model.match(chosen(keys, at), padded([texts[i] for i in group]))
            out[torch.tensor(group)] = logits.softmax(-1)[:, 1]
        return out

    @torch.no_grad()
    def scores(self, model, matching=True):
        features = [model.features(*model.contrast(model.qformer.keys(self.image[rows]), padded([self.ids[i] for i in rows]), False)[:2]) for rows in torch.arange(len(self.ids)).split(64)]
        sim = similarities(torch.cat([f[0] for f in features]), torch.cat([f[1] for f in features]))
        at = torch.arange(len(sim))
        out = {"search R@1": self.truth[sim.argmax(0), at].float().mean().item(), "describe R@1": self.truth[at, sim.argmax(1)].float().mean().item()}
        if not matching:
            return out
        true = self.probabilities(model, list(range(len(self.ids))), self.ids)
        false = self.probabilities(model, self.rows, self.changed_ids)
        right = {kind: [((true[i] >= 0.5).float() + (p < 0.5).float()).item() / 2 for k, i, p in zip(self.kinds, self.rows, false) if k == kind] for kind in SWAPS}
        out |= {kind: sum(values) / len(values) for kind, values in right.items()}
        asked = range(0, len(sim), 2)
        best = sim.topk(8, 0).indices
        again = self.probabilities(model, [j for i in asked for j in best[:, i].tolist()], [self.ids[i] for i in asked for _ in range(8)]).view(-1, 8)
        chosen = torch.tensor([best[row.argmax(), i].item() for row, i in zip(again, asked)])
        return out | {"half of search": self.truth[sim.argmax(0), at][::2].float().mean().item(), "reranked": self.truth[chosen, torch.tensor(asked)].float().mean().item()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--run", default="itm")
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "../models/pico")
    parser.add_argument("--further", type=Path, help="checkpoint folder of a matcher to start from, such as that of an earlier vision encoder")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=["trained", "apart"], help="to evaluate on")
    parser.add_argument("--minutes", type=float, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0 = torch decides")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    shards = lambda: map_shards(views_folder(options.work, options.checkpoint))
    tokenizer, tower, views = word_tokenizer(), load_model(options.checkpoint), shards()
    if not views:
        raise SystemExit(f"Expected views of {options.checkpoint} in {options.work}, found none. Make them: python views.py --work {options.work} --checkpoint {options.checkpoint}")
    encode = lambda texts: [encoding.ids[:POSITIONS] for encoding in tokenizer.encode_batch(texts)]
    nouns = noun_pieces(tokenizer)
    swapper = Swapper([scene for shard in views[:4] for scene in shard["scenes"]])
    atlas = Atlas(options.work)
    evaluations = {designs: MatchingEvaluation(atlas, tower, designs, swapper, encode) for designs in options.designs}

    torch.manual_seed(options.seed)
    model = Matcher(tower.size, tokenizer.get_vocab_size())
    model.start_from(load_file(options.checkpoint / "model.safetensors"))
    if options.further:
        load_folder(model, options.further, ("only_",))
        nn.init.constant_(model.only_scale, math.log(FURTHER_SCALE))
    run = Run(options.work / options.run, model, Matcher(tower.size, tokenizer.get_vocab_size()), LEARNING_RATE, options.seed, options.minutes, matrix_rate=MATRIX_RATE, ema=EMA)
    generator, next_evaluation = run.generator, run.spent + EVALUATE_EVERY
    while not run.done:
        shard = generator.choice(views)
        rows = [min((generator.randrange(len(shard["scenes"])) for _ in range(2)), key=lambda i: shard["scenes"][i].layout not in AXIS.values()) if generator.random() < RELATED else generator.randrange(len(shard["scenes"])) for _ in range(BATCH)]
        lesson = Lesson(generator, [shard["scenes"][i] for i in rows], swapper, encode)
        keys = model.qformer.keys(shard["image"][rows].float())
        parts = {}
        parts["contrastive"], parts["generation"], parts["attraction"], hard = contrast_losses(model, keys, lesson, nouns)
        loss = sum(parts.values())
        if run.progress >= MATCHING_FROM:
            parts["matching"], parts["words"], parts["naming"] = matching_losses(model, keys, lesson, hard, nouns)
            loss = loss + 2 * parts["matching"] + parts["words"] + parts["naming"]
        run.update(loss, parts, BATCH, min(1.0, run.step / 40) * min(1.0, 2.4 * (1 - run.progress)) * (FURTHER if options.further else 1.0))
        if run.step % 25 == 0:
            run.report()
            views = shards() if run.step % 250 == 0 else views
        run.save_sometimes()
        if run.is_first and (run.spent >= next_evaluation or run.done):
            next_evaluation = run.spent + EVALUATE_EVERY
            for designs, evaluation in evaluations.items():
                run.say(f"        {time.strftime('%H:%M')} {designs:10s} " + "  ".join(f"{key} {value:.1%}" for key, value in evaluation.scores(run.average, "matching" in parts).items()))
            run.tick()


if __name__ == "__main__":
    main()
