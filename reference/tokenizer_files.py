"""
Writes a small byte-level BPE tokenizer with the layout of OPT's.

In:  the number of merges, whether there is an `<image>` token.
Out: tokenizer.json, vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json and added_tokens.json in a
     folder, and the ids a model's configuration needs.

As in facebook/opt: <s> 0, <pad> 1, </s> 2, <unk> 3, of which only <pad> and </s> are matched in typed text; the
post-processor writes </s> in front; no space is added to the first word. As in Salesforce/blip2-opt: `<image>` is an
added token after all others.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]
END = "</s>"
NEWLINE = "Ċ"  # byte 10 in the alphabet of byte-level BPE

# What the merges are learnt from: words of captions and questions, a few letters outside ASCII.
CORPUS = [
    "Question: what is it? Answer: a cat on the table",
    "Question: what color is the car? Answer: it is red and white",
    "a photo of a dog on the beach with a woman",
    "a group of people standing on the street next to the station",
    "Frage: was ist das? Antwort: ein Café in Köln",
]


def write_tokenizer(folder, merges, image_token):
    """Writes the tokenizer's files; returns {"size", "newline", "image"}: the number of ids and two ids."""
    tokenizer = train(merges)
    size = tokenizer.get_vocab_size()
    added = {1: "<pad>", 2: END}
    if image_token:
        added[size] = "<image>"
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": True}
    decoder = {id: {"content": text, **flags, "normalized": text != "<image>"} for id, text in added.items()}
    tokenizer.add_special_tokens([AddedToken(**entry) for entry in decoder.values()])

    folder = Path(folder)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    model = json.loads(tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_prefix_space": False,
            "added_tokens_decoder": {str(id): entry for id, entry in decoder.items()},
            "bos_token": END,
            "clean_up_tokenization_spaces": False,
            "eos_token": END,
            "errors": "replace",
            "model_max_length": 1000000000000000019884624838656,
            "pad_token": "<pad>",
            "processor_class": "Blip2Processor",
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": END,
        },
    )
    special = {"bos_token": END, "eos_token": END, "pad_token": "<pad>", "unk_token": END}
    write_json(folder / "special_tokens_map.json", special)
    if image_token:
        write_json(folder / "added_tokens.json", {"<image>": size})
    return {"size": size + image_token, "newline": model["vocab"][NEWLINE], "image": size if image_token else None}


def train(merges):
    """The tokenizer without added tokens: special tokens, 256 bytes, `merges` joined tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIAL_TOKENS) + len(alphabet) + merges,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    # The trainer also matches its special tokens in text, which OPT does not do for <s> and <unk>: keep only the model.
    model = json.loads(tokenizer.to_str())["model"]
    pairs = [tuple(pair) for pair in model["merges"]]
    affixes = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=pairs, **affixes))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END}:0 $A:0", pair=f"{END}:0 $A:0 {END}:1 $B:1", special_tokens=[(END, SPECIAL_TOKENS.index(END))]
    )
    return tokenizer


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
