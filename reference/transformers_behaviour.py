"""
Runs Blip2ForConditionalGeneration.generate of the pinned transformers and asserts how it treats its inputs.

In:  nothing; makes a few checkpoints in a temporary folder.
Out: one line per check; each asserts a finding of README.md. A failed assertion means that the pinned release
     changed, and that the findings, record.py and the TypeScript code must be checked.

    python transformers_behaviour.py
"""

import tempfile
import warnings
from pathlib import Path

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor, GPT2Tokenizer
from transformers.generation import logits_process
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

import record
from configurations import named_configuration
from make_checkpoint import make_checkpoint

PROMPT = "Question: what is it? Answer:"


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for check in (
            check_loading,
            check_ids,
            check_typed_image,
            check_no_image_token,
            check_no_placeholders,
            check_processors_see_everything,
            check_lengths,
            check_generation_config,
            check_padding,
            check_sampling_defaults,
            check_unreal_ids,
            check_widths,
        ):
            print(f"{check.__name__.removeprefix('check_')}: {check(folder)}")


def make(folder, name, seed=1):
    path = folder / name
    if not path.exists():
        make_checkpoint(path, named_configuration(name), seed)
    model = record.load_model(path)
    side = model.config.vision_config.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return path, model, pixels, GPT2Tokenizer.from_pretrained(path)


def placeholders(model):
    return [model.config.image_token_index] * model.config.num_query_tokens


def raises(kind, call):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def check_loading(folder):
    """record.load_model equals from_pretrained for every file that from_pretrained supports."""
    for name in ("plain", "bias-none", "head-lm_head", "head-both", "bfloat16", "config-hub", "shards"):
        path, model, _, _ = make(folder, name)
        theirs = Blip2ForConditionalGeneration.from_pretrained(path, dtype=torch.float32).state_dict()
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, theirs[key]), (name, key)
    path, model, _, _ = make(folder, "bias-split")
    theirs = Blip2ForConditionalGeneration.from_pretrained(path, dtype=torch.float32).state_dict()
    key = "vision_model.encoder.layers.0.self_attn.qkv.bias"
    assert not torch.equal(model.state_dict()[key], theirs[key])
    return "all layouts load as in from_pretrained; q_bias + v_bias is the one that from_pretrained no longer reads"


def check_ids(folder):
    path, model, pixels, tokenizer = make(folder, "plain")
    text = tokenizer(PROMPT)["input_ids"]
    assert text[0] == 2
    processor = Blip2Processor(BlipImageProcessorPil(), tokenizer, num_query_tokens=model.config.num_query_tokens)
    made = processor(images=Image.new("RGB", (8, 8)), text=PROMPT)["input_ids"]
    assert made[0] == placeholders(model) + text
    ids = torch.tensor([placeholders(model) + text])
    output = model.generate(pixels, input_ids=ids, max_new_tokens=4)
    assert output[0, : ids.shape[1]].tolist() == ids[0].tolist()
    alone = model.generate(pixels, max_new_tokens=4)
    explicit = model.generate(pixels, input_ids=torch.tensor([placeholders(model) + [2]]), max_new_tokens=4)
    assert torch.equal(alone, explicit)
    inputs = record.build_inputs(model, pixels, torch.tensor([text]))
    direct = model.language_model(inputs_embeds=inputs["inputs_embeds"]).logits
    assert torch.allclose(direct, model(pixels, input_ids=ids).logits, atol=1e-5)
    return "[<image>] * Q, </s>, prompt; output repeats all of it; no prompt = </s>; same as [prefix; embeddings]"


def check_typed_image(folder):
    _, model, pixels, tokenizer = make(folder, "plain")
    ids = torch.tensor([placeholders(model) + tokenizer("what is <image>?")["input_ids"]])
    error = raises(RuntimeError, lambda: model.generate(pixels, input_ids=ids, max_new_tokens=2))
    return f"`<image>` typed in a prompt is one placeholder too many: {error}"


def check_no_image_token(folder):
    _, model, pixels, tokenizer = make(folder, "no-image-token")
    text = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    errors = [
        raises(AttributeError, lambda: model.generate(pixels, input_ids=text, max_new_tokens=2)),
        raises((RuntimeError, TypeError, ValueError), lambda: model.generate(pixels, max_new_tokens=2)),
    ]
    embeds, mask = model.get_input_embeddings()(text), torch.ones_like(text)
    errors.append(raises(Exception, lambda: model.generate(pixels, inputs_embeds=embeds, attention_mask=mask)))
    return f"image_token_index null cannot be run: {errors}"


def check_no_placeholders(folder):
    _, model, pixels, tokenizer = make(folder, "plain")
    text = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    blind = model(pixels, input_ids=text).logits
    assert torch.allclose(blind, model.language_model(text).logits, atol=1e-5)
    assert torch.equal(blind, model(torch.zeros_like(pixels), input_ids=text).logits)
    return "without placeholders in input_ids the picture is ignored, without an error"


def seen_by_processors(model, *arguments, **keywords):
    """Returns the ids that logits processors receive at each step."""
    seen = []
    original = logits_process.LogitsProcessorList.__call__

    def spy(self, input_ids, scores, **rest):
        seen.append(input_ids.clone())
        return original(self, input_ids, scores, **rest)

    logits_process.LogitsProcessorList.__call__ = spy
    try:
        model.generate(*arguments, **keywords)
    finally:
        logits_process.LogitsProcessorList.__call__ = original
    return seen


def check_processors_see_everything(folder):
    _, model, pixels, tokenizer = make(folder, "plain")
    text = tokenizer(PROMPT)["input_ids"]
    ids = torch.tensor([placeholders(model) + text])
    greedy = seen_by_processors(model, pixels, input_ids=ids, max_new_tokens=3, repetition_penalty=1.5)
    assert greedy[0].tolist() == ids.tolist() and greedy[1].shape[1] == ids.shape[1] + 1
    beams = seen_by_processors(model, pixels, input_ids=ids, max_new_tokens=3, num_beams=3, no_repeat_ngram_size=2)
    assert beams[0].tolist() == ids.tolist() * 3
    padded = tokenizer(["", PROMPT], padding=True, padding_side="left", return_tensors="pt")
    rows = torch.cat([torch.tensor([placeholders(model)] * 2), padded["input_ids"]], dim=1)
    mask = torch.cat([torch.ones(2, len(placeholders(model)), dtype=torch.long), padded["attention_mask"]], dim=1)
    batch = seen_by_processors(model, pixels.repeat(2, 1, 1, 1), input_ids=rows, attention_mask=mask, max_new_tokens=2)
    assert batch[0].tolist() == rows.tolist() and 1 in batch[0][0].tolist()
    # In beam search processors receive log probabilities, in greedy search and sampling raw logits.
    return "placeholders, </s>, the prompt and, in batches, <pad> are all seen as history"


def check_lengths(folder):
    _, model, pixels, tokenizer = make(folder, "plain")
    ids = torch.tensor([placeholders(model) + tokenizer(PROMPT)["input_ids"]])
    length = ids.shape[1]

    def new_tokens(**arguments):
        return model.generate(pixels, input_ids=ids, min_new_tokens=500, **arguments).shape[1] - length

    positions = model.config.text_config.max_position_embeddings
    assert new_tokens() == 20
    assert new_tokens(max_new_tokens=7) == 7
    assert new_tokens(max_length=length + 3) == 3
    raises(ValueError, lambda: new_tokens(max_length=length))
    longest = positions - length
    assert new_tokens(max_new_tokens=longest) == longest
    raises(IndexError, lambda: new_tokens(max_new_tokens=longest + 2))
    prompt = torch.tensor([placeholders(model) + [2] + [90] * (positions - len(placeholders(model)) - 6)])
    assert model.generate(pixels, input_ids=prompt, min_new_tokens=500).shape[1] == positions
    return "default 20 new tokens, cut at max_position_embeddings; max_length counts placeholders and prompt"


def check_generation_config(folder):
    path, _, pixels, _ = make(folder, "plain")
    model = Blip2ForConditionalGeneration.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    before = model.generate(pixels, max_new_tokens=12)
    model.generation_config.eos_token_id = int(before[0, -3])
    model.generation_config.num_beams = 4
    model.generation_config.max_new_tokens = 1
    assert torch.equal(before, model.generate(pixels, max_new_tokens=12))
    assert model.language_model.generation_config.eos_token_id == model.config.text_config.eos_token_id
    return "generation_config.json is not read by generate: eos, pad, bos are those of text_config"


def check_padding(folder):
    _, model, pixels, tokenizer = make(folder, "plain")
    prompts = ["", PROMPT]
    padded = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    inputs = record.build_inputs(model, pixels.repeat(2, 1, 1, 1), padded["input_ids"], padded["attention_mask"])
    queries = model.config.num_query_tokens
    assert inputs["input_ids"][0, queries:].tolist() == [1] * (padded["input_ids"].shape[1] - 1) + [2]
    both = record.run_logits(model, inputs)[:, -1]
    for row, prompt in enumerate(prompts):
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        alone = record.run_logits(model, record.build_inputs(model, pixels, ids))[0, -1]
        assert torch.allclose(both[row], alone, atol=1e-4), (both[row] - alone).abs().max()
    return "row = [<image>] * Q, pads (mask 0), </s>, prompt; positions skip pads, so a row equals the prompt alone"


def check_sampling_defaults(folder):
    _, model, pixels, _ = make(folder, "plain")
    arguments = {"do_sample": True, "max_new_tokens": 1, "return_dict_in_generate": True, "output_scores": True}
    scores = model.generate(pixels, **arguments).scores[0]
    assert int(torch.isfinite(scores).sum()) == 50
    return "do_sample without top_k keeps 50 tokens (top_k 0 keeps all)"


def check_unreal_ids(folder):
    _, model, pixels, tokenizer = make(folder, "plain")
    arguments = {"do_sample": True, "top_k": 0, "max_new_tokens": 1}
    output = model.generate(pixels, **arguments, return_dict_in_generate=True, output_scores=True)
    assert torch.isfinite(output.scores[0][0, len(tokenizer) :]).all()
    assert len(tokenizer) < output.scores[0].shape[1]
    return "ids past the tokenizer's and <image> itself keep their logits: nothing is masked"


def check_widths(folder):
    path = folder / "widths"
    make_checkpoint(path, named_configuration("refused-word-embed-proj"), 1)
    model = Blip2ForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()
    side = model.config.vision_config.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    prefix = model.get_image_features(pixels).pooler_output
    embeds = model.get_input_embeddings()(torch.tensor([placeholders(model)]))
    assert prefix.shape[-1] > embeds.shape[-1]
    mask = torch.ones(embeds.shape, dtype=torch.bool)
    filled = embeds.masked_scatter(mask, prefix)
    model.generate(pixels, max_new_tokens=2)  # no error
    assert torch.equal(filled.flatten(), prefix.flatten()[: filled.numel()])
    return "word_embed_proj_dim < hidden_size runs, but cuts the flattened prefix into rows of the wrong width"


if __name__ == "__main__":
    main()
