"""
Writes a small tokenizer: byte-level BPE with the layout of OPT's, Unigram with that of T5's, WordPiece with that of BERT's, or
BPE with that of LLaMA's.

In:  the number of merges (of T5: of words), whether there is an `<image>` token.
Out: tokenizer.json, tokenizer_config.json, special_tokens_map.json, of OPT also vocab.json, merges.txt and
     added_tokens.json in a folder, and the ids a model's configuration needs.

As in facebook/opt: <s> 0, <pad> 1, </s> 2, <unk> 3, of which only <pad> and </s> are matched in typed text; the
post-processor writes </s> in front; no space is added to the first word. As in Salesforce/blip2-opt: `<image>` is an
added token after all others.

As in google/flan-t5: <pad> 0, </s> 1, <unk> 2, pieces with scores, <extra_id_0> last; text is normalized by a table of
characters (`charsmap`), and </s> follows it.

As in Salesforce/instructblip-vicuna-7b: <unk> 0, <s> 1, </s> 2, 256 bytes, joined tokens; [PAD] after all others; </s> in
front of a text.

As in Salesforce/blip2-itm-vit-g: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4 in the vocabulary, [DEC] after it; text in
lower case between [CLS] and [SEP].
"""

import base64
import json
import struct
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

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


EXTRA_IDS = 3


def write_t5_tokenizer(folder, words, image_token):
    """Writes the tokenizer's files; returns {"size", "image"}: the number of ids and the id of `<image>`."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *t5_pieces(words)]
    extra = [f"<extra_id_{number}>" for number in range(EXTRA_IDS)]
    pieces += [(text, 0.0) for text in reversed(extra)]
    size = len(pieces)
    special = [(0, "<pad>"), (1, "</s>"), (2, "<unk>"), *((size - 1 - n, text) for n, text in enumerate(extra))]
    if image_token:
        special.append((size, "<image>"))
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    charsmap = base64.b64encode(build_charsmap(character_rules())).decode()
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": text, **flags} for id, text in sorted(special)],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
            ],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [list(piece) for piece in pieces], "byte_fallback": False},
    }
    folder = Path(folder)
    (folder / "tokenizer.json").write_text(json.dumps(definition, ensure_ascii=False), encoding="utf-8")
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(id): {"content": text, **flags} for id, text in sorted(special)},
            "additional_special_tokens": extra,
            "clean_up_tokenization_spaces": True,
            "extra_ids": EXTRA_IDS,
            "model_max_length": 512,
            "processor_class": "Blip2Processor",
            "tokenizer_class": "T5Tokenizer",
            **names,
        },
    )
    write_json(folder / "special_tokens_map.json", {"additional_special_tokens": extra, **names})
    return {"size": size + image_token, "image": size if image_token else None}


def t5_pieces(words):
    """[(piece, score)]: characters, beginnings and whole words of the corpus; `words` of them."""
    characters = ["▁", *(chr(code) for code in range(33, 127)), *"éöüßñ¿"]
    known = []
    for word in " ".join(CORPUS).split():
        for part in (f"▁{word}", f"▁{word[:2]}", word[-2:], word[:3]):
            if part not in known and part not in characters:
                known.append(part)
    return [
        *((text, -5 - number / 64) for number, text in enumerate(characters)),
        *((text, -4 - number / 32 - len(text) / 8) for number, text in enumerate(known[:words])),
    ]


def character_rules():
    """{text: replacement}: a part of SentencePiece's nmt_nfkc, with compositions such as e + accent."""
    rules = {chr(code): "" for code in (*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F)}
    spaces = (9, 10, 12, 13, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD)
    rules.update({chr(code): " " for code in spaces})
    for code in (*range(0xA0, 0x100), *range(0x2000, 0x200B), *range(0x2100, 0x2190), 0x3000, *range(0xFB00, 0xFB07)):
        rules[chr(code)] = unicodedata.normalize("NFKC", chr(code))
    for code in (*range(0x2460, 0x2474), *range(0x3380, 0x33A0), *range(0xFF01, 0xFF60)):
        rules[chr(code)] = unicodedata.normalize("NFKC", chr(code))
    for letter in "AEIOUaeiouncNCyY":
        for accent in "\u0300\u0301\u0302\u0303\u0308\u0327":
            rules[letter + accent] = unicodedata.normalize("NFKC", letter + accent)
    return {text: to for text, to in rules.items() if text != to}


def build_charsmap(rules):
    """
    Returns the bytes of `precompiled_charsmap`: the length of a double array, the array, and the replacements, each ended by
    a zero byte. The array is darts-clone's: a unit holds a label (bits 0-7), whether a text ends here (8), and the distance
    (10-30) to its children, which are at (position ^ distance) ^ byte; the child at byte 0 holds the value.
    """
    replacements, trie = b"", {}
    for text, to in sorted(rules.items()):
        node = trie
        for byte in text.encode():
            node = node.setdefault(byte, {})
        node[0] = len(replacements)
        replacements += to.encode() + b"\0"
    units = {0: 0}

    def place(position, node):
        base = 1
        while any((base ^ byte) in units for byte in node):
            base += 1
        units[position] |= (position ^ base) << 10 | (0 in node) << 8
        for byte, child in node.items():
            units[base ^ byte] = child | 1 << 31 if byte == 0 else byte
        for byte, child in node.items():
            if byte != 0:
                place(base ^ byte, child)

    place(0, trie)
    array = [units.get(position, 0) for position in range((max(units) | 255) + 1)]
    return struct.pack("<I", 4 * len(array)) + struct.pack(f"<{len(array)}I", *array) + replacements


BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_bert_tokenizer(folder, words, image_token, vocabulary_file=False):
    """
    Writes the tokenizer's files, with `vocabulary_file` vocab.txt in place of tokenizer.json; returns {"size", "image"}:
    the number of ids and the id of `<image>`.
    """
    pieces = [*BERT_TOKENS, *bert_pieces(words)]
    special = [*enumerate(BERT_TOKENS), (len(pieces), "[DEC]")]
    if image_token:
        special.append((len(pieces) + 1, "<image>"))
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    cls, sep = ({"SpecialToken": {"id": text, "type_id": 0}} for text in ("[CLS]", "[SEP]"))
    first, second = ({"Sequence": {"id": name, "type_id": type_id}} for type_id, name in enumerate("AB"))
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": text, **flags} for id, text in special],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, first, sep],
            "pair": [cls, first, sep, second, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {
                text: {"id": text, "ids": [BERT_TOKENS.index(text)], "tokens": [text]} for text in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: id for id, piece in enumerate(pieces)},
        },
    }
    folder = Path(folder)
    if vocabulary_file:
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    else:
        (folder / "tokenizer.json").write_text(json.dumps(definition, ensure_ascii=False), encoding="utf-8")
    names = {
        "bos_token": "[DEC]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
    }
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(id): {"content": text, **flags} for id, text in special},
            "clean_up_tokenization_spaces": True,
            "do_lower_case": True,
            "model_max_length": 512,
            "processor_class": "Blip2Processor",
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            "tokenizer_class": "BertTokenizer",
            **names,
        },
    )
    write_json(folder / "special_tokens_map.json", names)
    return {"size": len(pieces) + 1 + image_token, "image": len(pieces) + 1 if image_token else None}


def bert_pieces(words):
    """Characters, alone and inside a word, and beginnings, endings and whole words of the corpus; `words` of them."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    inside = [f"##{character}" for character in characters if character.isalnum()]
    known = []
    for word in " ".join(CORPUS).lower().replace("é", "e").replace("ö", "o").split():
        word = word.strip("?:")
        for part in (word, word[:2], f"##{word[-2:]}", f"##{word[1:3]}"):
            if part not in known and part not in characters and part.strip("#") and part not in inside:
                known.append(part)
    return [*characters, *inside, *known[:words]]


LLAMA_TOKENS = ["<unk>", "<s>", "</s>"]


def write_llama_tokenizer(folder, merges, image_token):
    """Writes the tokenizer's files; returns {"size", "image"}: the number of ids and the id of `<image>`."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=340 + merges, special_tokens=[*LLAMA_TOKENS, *byte_tokens], show_progress=False)
    tokenizer.train_from_iterator([word for text in CORPUS for word in text.split()], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    size = len(model["vocab"])
    special = [*enumerate(LLAMA_TOKENS), (size, "[PAD]")]
    if image_token:
        special.append((size + 1, "<image>"))
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    first, second = ({"Sequence": {"id": name, "type_id": type_id}} for type_id, name in enumerate("AB"))
    begin = {"SpecialToken": {"id": END, "type_id": 0}}
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": text, **flags} for id, text in special],
        "normalizer": json.loads(tokenizer.to_str())["normalizer"],
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first],
            "pair": [begin, first, {"SpecialToken": {"id": END, "type_id": 1}}, second],
            "special_tokens": {END: {"id": END, "ids": [2], "tokens": [END]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {**model, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
    }
    folder = Path(folder)
    (folder / "tokenizer.json").write_text(json.dumps(definition, ensure_ascii=False), encoding="utf-8")
    names = {"bos_token": END, "eos_token": END, "pad_token": "[PAD]", "unk_token": END}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": {str(id): {"content": text, **flags} for id, text in special},
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1000000000000000019884624838656,
            "processor_class": "InstructBlipProcessor",
            "tokenizer_class": "LlamaTokenizer",
            "truncation_side": "left",
            **names,
        },
    )
    write_json(folder / "special_tokens_map.json", names)
    return {"size": size + 1 + image_token, "image": size + 1 if image_token else None}
