"""Writes a trained model as a Hugging Face BLIP-2 checkpoint, and checks it with transformers.

In:  WORK/RUN/last.pt (train.py) and WORK/tokenizer.json.
Out: a folder with the file layout of Salesforce/blip2-opt-2.7b on the Hub, weights in float16.

    python export.py --work DIR --run NAME --out ../models/pico
    python export.py --work DIR --run itm --matcher ../models/pico --out ../models/pico-itm    (matcher.py's)

The check: Blip2ForConditionalGeneration and Blip2Processor of transformers load the folder, and give
the same logits within 1e-4 and the same greedy text as model.py on pictures of scenes. A matcher's folder has no vision
encoder of its own; with that of the checkpoint it was trained behind, Blip2ForImageTextRetrieval gives the same scores.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, processors

import language
from matcher import FEATURES, LAYERS, POSITIONS, SPECIALS, Matcher, padded, similarities, word_tokenizer
from model import SIZES, Blip2, Size, greedy, pack_mask
from scenes import BACKGROUNDS, CATEGORY, NOUNS, SHAPES, Atlas, SceneSampler, render, to_image
from score import load_model
from train import BOS, MEAN, PIECES, STD, typing_normalizer

TOLERANCE = 1e-4  # float32 on both sides, sums in another order
IMAGE_TOKEN = "<image>"
SEES = "Emoji, stickers and coloured shapes: up to six of them on a plain background, their colours, number and places. Not photographs. What it does not know it may take for something it knows."
# The same in the other languages of the web page.
SEES_IN = {
    "de": "Emoji, Sticker und farbige Formen: bis zu sechs auf einem einfarbigen Hintergrund, ihre Farben, Anzahl und Plätze. Keine Fotos. Was es nicht kennt, hält es manchmal für etwas, das es kennt.",
    "es": "Emoji, stickers y formas de color: hasta seis sobre un fondo liso, sus colores, su número y su lugar. No fotografías. Lo que no conoce, a veces lo toma por algo que conoce.",
    "fr": "Des émojis, des autocollants et des formes de couleur : jusqu’à six sur un fond uni, leurs couleurs, leur nombre et leur place. Pas de photos. Ce qu’il ne connaît pas, il le prend parfois pour une chose qu’il connaît.",
    "ja": "絵文字、ステッカー、色のついた図形：無地の背景に 6 個まで、その色、数、位置。写真は見分けられません。知らないものを、知っているものと取り違えることがあります。",
}
TURNS = 3  # earlier turns that a prompt keeps: `npx glimpse evaluate --turns 4` finds 1.4 points less after three, 6 after four
# A model that knows photographs, by its name on the hub: the web page points to it.
PHOTOGRAPHS = "Salesforce/blip2-opt-2.7b"


def write_json(path: Path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tokenizer(tokenizer: Tokenizer, out: Path):
    """
    The files of OPT's tokenizer: texts begin with </s>, which is also the unknown and the end.
    """
    newline = tokenizer.token_to_id("Ċ")
    specials = ["<s>", "<pad>", "</s>", "<unk>", IMAGE_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    assert tokenizer.token_to_id(IMAGE_TOKEN) == PIECES
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", BOS)])
    tokenizer.normalizer = typing_normalizer()
    tokenizer.save(str(out / "tokenizer.json"))
    saved = json.loads((out / "tokenizer.json").read_text())["model"]
    write_json(out / "vocab.json", saved["vocab"])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in saved["merges"]]
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    added = {str(tokenizer.token_to_id(token)): {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} for token in specials}
    names = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"}
    write_json(out / "tokenizer_config.json", {"add_bos_token": True, "add_prefix_space": False, "added_tokens_decoder": added, **names, "clean_up_tokenization_spaces": False, "errors": "replace", "model_max_length": 256, "processor_class": "Blip2Processor", "tokenizer_class": "GPT2Tokenizer"})
    write_json(out / "special_tokens_map.json", names)
    return newline


def write_config(size: Size, newline: int, out: Path):
    d = size.width
    vision = {"model_type": "blip_2_vision_model", "hidden_size": d, "intermediate_size": 4 * d, "num_hidden_layers": size.vision_layers, "num_attention_heads": size.heads, "image_size": size.image, "patch_size": size.patch, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "attention_dropout": 0.0, "qkv_bias": True}
    qformer = {"model_type": "blip_2_qformer", "hidden_size": d, "intermediate_size": 4 * d, "num_hidden_layers": size.qformer_layers, "num_attention_heads": size.heads, "encoder_hidden_size": d, "cross_attention_frequency": size.cross_every, "vocab_size": size.vocabulary, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "use_qformer_text_input": False}
    text = {"model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": d, "word_embed_proj_dim": d, "ffn_dim": 4 * d, "num_hidden_layers": size.text_layers, "num_attention_heads": size.heads, "max_position_embeddings": size.positions, "vocab_size": size.vocabulary, "activation_function": "relu", "do_layer_norm_before": True, "dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0, "bos_token_id": BOS, "eos_token_id": newline, "pad_token_id": 1, "tie_word_embeddings": True}
    write_json(out / "config.json", {"architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2", "dtype": "float16", "image_token_index": PIECES, "num_query_tokens": size.queries, "image_text_hidden_size": d, "initializer_factor": 1.0, "initializer_range": 0.02, "use_decoder_only_language_model": True, "tie_word_embeddings": True, "vision_config": vision, "qformer_config": qformer, "text_config": text})
    write_json(out / "generation_config.json", {"bos_token_id": BOS, "eos_token_id": newline, "pad_token_id": 1})
    write_json(out / "preprocessor_config.json", {"image_processor_type": "BlipImageProcessor", "processor_class": "Blip2Processor", "do_convert_rgb": True, "do_resize": True, "size": {"height": size.image, "width": size.image}, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN.flatten().double().mul(1e8).round().div(1e8).tolist(), "image_std": STD.flatten().double().mul(1e8).round().div(1e8).tolist()})
    write_json(out / "processor_config.json", {"num_query_tokens": size.queries, "processor_class": "Blip2Processor"})


def write_words(out: Path):
    """Writes words.json, the list of what the model knows, for users."""
    nouns = {}
    for noun in NOUNS:
        if noun not in SHAPES:
            nouns.setdefault(CATEGORY[noun], []).append(noun)
    examples = ["what is this?", "how many things are there?", "what color is the background?", "is there an animal?", "what is on the left?"]
    write_json(out / "words.json", {"sees": SEES, "sees_in": SEES_IN, "photographs": PHOTOGRAPHS, "nouns": [noun for of_category in nouns.values() for noun in of_category], "shapes": SHAPES, "colors": BACKGROUNDS, "counts": language.NUMBERS[1:], "examples": examples, "unknown_caption": language.UNKNOWN_CAPTION, "unknown_answer": language.UNKNOWN_ANSWER, "turns": TURNS})


def write_weights(model, out: Path):
    weights = {}
    for name, weight in model.state_dict().items():
        if name.startswith(("patch_head.", "facts.", "only_")):
            continue
        weight = weight.detach().clone()
        if name.endswith("self_attn.qkv.bias"):
            weight[len(weight) // 3 : 2 * len(weight) // 3] = 0  # BLIP-2 has no key bias; softmax does not see it
        weights[name] = weight.half().contiguous()
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "pt"})
    return sum(weight.numel() for weight in weights.values())


@torch.no_grad()
def prove(model: Blip2, out: Path, work: Path, newline: int, count=24):
    """Compares transformers, loading the folder, with model.py on the same rounded weights."""
    from transformers import AutoTokenizer, Blip2ForConditionalGeneration, BlipImageProcessorPil

    reference, loading = Blip2ForConditionalGeneration.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    unexpected = {key: value for key, value in loading.items() if value and key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    assert set(unexpected) <= {"missing_keys"} and all(key.endswith("lm_head.weight") for key in unexpected.get("missing_keys", [])), unexpected
    tokenizer, images = AutoTokenizer.from_pretrained(out), BlipImageProcessorPil.from_pretrained(out)
    rounded = {name: weight.half().float() for name, weight in model.state_dict().items()}
    model.load_state_dict(rounded)

    generator, sampler = random.Random(77), SceneSampler(Atlas(work), "seen")
    scenes = [sampler.scene(generator) for _ in range(count)]
    pixels = images([to_image(picture) for picture in render(sampler.atlas, scenes, 256)[0]], return_tensors="pt").pixel_values
    prefix = model.language_projection(model.see(pixels)[1])
    worst, same, total = 0.0, 0, 0
    for text in ["", "Question: how many things are there? Answer:", "Question: what color is the background? Answer:"]:
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert ids[0, 0] == BOS and (text == "" or tokenizer.decode(ids[0, 1:]) == text), ids
        ids = ids.expand(count, -1)
        segments = torch.zeros_like(ids)
        positions = torch.arange(ids.shape[1]).expand(count, -1)
        ours = model.vocabulary(model.hidden(prefix, ids, positions, pack_mask(segments, model.size.queries)))
        whole = torch.cat([torch.full((count, model.size.queries), PIECES), ids], 1)
        theirs = reference(pixel_values=pixels, input_ids=whole, attention_mask=torch.ones_like(whole)).logits[:, model.size.queries :]
        worst = max(worst, (ours - theirs).abs().max().item())
        their_text = reference.generate(pixel_values=pixels, input_ids=whole, attention_mask=torch.ones_like(whole), max_new_tokens=24, do_sample=False)
        their_text = tokenizer.batch_decode(their_text[:, whole.shape[1] if their_text.shape[1] > 24 else 0 :], skip_special_tokens=True)
        our_text = tokenizer.batch_decode(greedy(model, prefix, ids.tolist(), newline), skip_special_tokens=True)
        same += sum(a.strip() == b.strip() for a, b in zip(our_text, their_text))
        total += count
    print(f"transformers: logits within {worst:.1e}, {same} of {total} greedy texts the same")
    assert worst <= TOLERANCE and same == total, (our_text[:4], their_text[:4])


# ---- Matcher -----------------------------------------------------------------------------------------


def write_matcher_files(checkpoint: Path, tokenizer: Tokenizer, out: Path):
    """config.json and the files of the tokenizer and the processor of a matcher behind the vision encoder of `checkpoint`."""
    config = json.loads((checkpoint / "config.json").read_text())
    qformer = config["qformer_config"] | {"num_hidden_layers": LAYERS, "vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": POSITIONS, "pad_token_id": 0, "use_qformer_text_input": True}
    shared = {name: config[name] for name in ("model_type", "dtype", "num_query_tokens", "initializer_factor", "initializer_range", "vision_config")}
    write_json(out / "config.json", {"architectures": ["Blip2ForImageTextRetrieval"], **shared, "image_token_index": None, "image_text_hidden_size": FEATURES, "qformer_config": qformer})
    tokenizer.save(str(out / "tokenizer.json"))
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda piece: piece[1])
    (out / "vocab.txt").write_text("".join(piece + "\n" for piece, _ in vocabulary))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "bos_token": "[DEC]"}
    added = {str(i): {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} for i, token in enumerate(SPECIALS)}
    write_json(out / "tokenizer_config.json", {"added_tokens_decoder": added, **names, "do_lower_case": True, "model_max_length": POSITIONS, "processor_class": "Blip2Processor", "tokenizer_class": "BertTokenizer"})
    write_json(out / "special_tokens_map.json", names)
    for name in ("preprocessor_config.json", "processor_config.json"):
        shutil.copyfile(checkpoint / name, out / name)


@torch.no_grad()
def prove_matcher(model: Matcher, checkpoint: Path, out: Path, work: Path, count=24):
    """Compares transformers, loading the folder with the tower of `checkpoint`, with matcher.py on the same rounded weights."""
    from transformers import AutoTokenizer, Blip2ForImageTextRetrieval, BlipImageProcessorPil

    tower = load_model(checkpoint)
    with tempfile.TemporaryDirectory() as whole:
        shutil.copytree(out, whole, dirs_exist_ok=True)
        vision = {name: weight for name, weight in load_file(checkpoint / "model.safetensors").items() if name.startswith("vision_model.")}
        save_file(load_file(out / "model.safetensors") | vision, f"{whole}/model.safetensors", metadata={"format": "pt"})
        reference, loading = Blip2ForImageTextRetrieval.from_pretrained(whole, dtype=torch.float32, output_loading_info=True)
        unexpected = {key: value for key, value in loading.items() if value and key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
        assert not unexpected, unexpected
        tokenizer, images = AutoTokenizer.from_pretrained(whole), BlipImageProcessorPil.from_pretrained(whole)
    model.load_state_dict({name: weight.half().float() for name, weight in model.state_dict().items()})
    generator, sampler = random.Random(78), SceneSampler(Atlas(work), "seen")
    scenes = [sampler.scene(generator) for _ in range(count)]
    pixels = images([to_image(picture) for picture in render(sampler.atlas, scenes, 256)[0]], return_tensors="pt").pixel_values
    texts = [language.caption(scene) for scene in scenes] + ["zebra crossing, at Night!"]
    asked = tokenizer(texts, padding=True, return_tensors="pt")
    ids = padded([encoding.ids for encoding in word_tokenizer().encode_batch(texts)])
    assert torch.equal(ids, asked.input_ids), (ids, asked.input_ids)
    image = tower.vision_model(pixels)
    keys = model.qformer.keys(image)
    first = torch.cat([model.contrast(model.qformer.keys(image[:1]), row[None, : int(length)], False)[1] for row, length in zip(ids, asked.attention_mask.sum(1))])
    ours = similarities(*model.features(model.contrast(keys, ids[:count], False)[0], first))
    theirs = reference(pixel_values=pixels, input_ids=asked.input_ids, attention_mask=asked.attention_mask).logits_per_image
    contrastive = (ours - theirs).abs().max().item()
    ours = model.match(keys, ids[:count])[0]
    theirs = reference(pixel_values=pixels, input_ids=asked.input_ids[:count], attention_mask=asked.attention_mask[:count], use_image_text_matching_head=True).logits_per_image
    matching = (ours - theirs).abs().max().item()
    print(f"transformers: similarities within {contrastive:.1e}, matching logits within {matching:.1e}")
    assert contrastive <= TOLERANCE and matching <= TOLERANCE


def export_matcher(options):
    saved = torch.load(options.work / options.run / "last.pt", map_location="cpu", weights_only=False)
    tokenizer = word_tokenizer()
    model = Matcher(load_model(options.matcher).size, tokenizer.get_vocab_size()).eval()
    model.load_state_dict(saved["average"])
    write_matcher_files(options.matcher, tokenizer, options.out)
    write_json(options.out / "words.json", {"sees": SEES, "rerank": options.rerank})
    count = write_weights(model, options.out)
    print(f"{count / 1e6:.2f} M parameters after {saved['spent'] / 60:.0f} minutes, {saved['step']} steps -> {options.out}")
    prove_matcher(model, options.matcher, options.out, options.work)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    parser.add_argument("--run", default="pico")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mix", nargs=2, metavar=("FOLDER", "SHARE"), help="average with an earlier checkpoint folder, which gets this share")
    parser.add_argument("--matcher", type=Path, metavar="FOLDER", help="writes a matcher; the checkpoint folder whose vision encoder it was trained behind")
    parser.add_argument("--rerank", action="store_true", help="of a matcher: score-matching.mjs found more by re-ranking")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.matcher:
        export_matcher(options)
        return
    saved = torch.load(options.work / options.run / "last.pt", map_location="cpu", weights_only=False)
    size = SIZES[saved["size"]]
    model = Blip2(size).eval()
    weights = saved["average"]
    if options.mix:
        share = float(options.mix[1])
        weights |= {name: weights[name].lerp(earlier.float(), share) for name, earlier in load_file(Path(options.mix[0]) / "model.safetensors").items()}
    model.load_state_dict(weights)
    newline = write_tokenizer(Tokenizer.from_file(str(options.work / "tokenizer.json")), options.out)
    write_config(size, newline, options.out)
    write_words(options.out)
    count = write_weights(model, options.out)
    print(f"{count / 1e6:.2f} M parameters after {saved['spent'] / 60:.0f} minutes, {saved['step']} steps -> {options.out}")
    prove(model, options.out, options.work, newline)


if __name__ == "__main__":
    main()
