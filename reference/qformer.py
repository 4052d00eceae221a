"""
Writes what transformers' Q-Formers compute in their three uses, with the weights they compute it with.

Out: test/fixtures/references/qformer.safetensors, for the models `blip2` (Blip2QFormerModel with the embeddings of
     Blip2ForImageTextRetrieval) and `instructblip` (InstructBlipQFormerModel):
       <model>.*                      weights, under the names of a checkpoint
       vision [B, P, Dv], text_ids, text_mask [B, T]   inputs of both; texts are padded at their end
       <model>/queries [B, Q, D]      queries alone
       <model>/queries_with_text [B, Q, D]             queries beside a text
       <model>/text [B, T, D]         text alone; rows of padding are zeros, as nothing reads them
     and in the metadata each model's configuration as JSON, under its name.

Run: python qformer.py      writes the same bytes again
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Blip2QFormerConfig, InstructBlipQFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2TextEmbeddings
from transformers.models.instructblip.modeling_instructblip import InstructBlipQFormerModel

OUT = Path(__file__).parent.parent / "test/fixtures/references/qformer.safetensors"

QUERIES, PATCHES, VISION_WIDTH = 5, 7, 12
LENGTHS = [6, 3, 1]
# Three layers, so that the second has no cross-attention and the third has.
SIZES = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 9,
    "cross_attention_frequency": 2,
    "encoder_hidden_size": VISION_WIDTH,
    "pad_token_id": 0,
}


class Blip2(torch.nn.Module):
    """The parts of Blip2ForImageTextRetrieval that its Q-Former needs."""

    def __init__(self):
        super().__init__()
        self.config = Blip2QFormerConfig(**SIZES, use_qformer_text_input=True)
        self.query_tokens = torch.nn.Parameter(torch.empty(1, QUERIES, SIZES["hidden_size"]))
        self.embeddings = Blip2TextEmbeddings(self.config)
        self.qformer = Blip2QFormerModel(self.config)

    def forward(self, ids, mask, queries, vision):
        """[B, Q + T, D], without Q or T where they are absent."""
        embeds = self.embeddings(input_ids=ids, query_embeds=queries)
        length = 0 if queries is None else queries.shape[1]
        return self.qformer(
            query_embeds=embeds, query_length=length, attention_mask=mask, encoder_hidden_states=vision
        ).last_hidden_state


class InstructBlip(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.config = InstructBlipQFormerConfig(**SIZES)
        self.query_tokens = torch.nn.Parameter(torch.empty(1, QUERIES, SIZES["hidden_size"]))
        self.qformer = InstructBlipQFormerModel(self.config)

    def forward(self, ids, mask, queries, vision):
        return self.qformer(
            input_ids=ids, attention_mask=mask, query_embeds=queries, encoder_hidden_states=vision
        ).last_hidden_state


def randomize(model, seed):
    """Matrices keep the size of their input; scales of norms are near 1; nothing is zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_scale = "norm" in name.lower() and name.endswith("weight")
        spread = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.2
        if "embeddings.weight" in name or name == "query_tokens":
            spread = 1.0
        parameter.data.copy_(noise * spread + (1.0 if is_scale else 0.0))


@torch.no_grad()
def main():
    generator = torch.Generator().manual_seed(3)
    batch, longest = len(LENGTHS), max(LENGTHS)
    vision = torch.randn(batch, PATCHES, VISION_WIDTH, generator=generator)
    mask = (torch.arange(longest) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(1, SIZES["vocab_size"], (batch, longest), generator=generator) * mask
    tensors = {"vision": vision, "text_ids": ids, "text_mask": mask}
    metadata = {"transformers": __import__("transformers").__version__}
    for seed, (name, kind) in enumerate({"blip2": Blip2, "instructblip": InstructBlip}.items()):
        model = kind().eval()
        randomize(model, seed)
        queries = model.query_tokens.expand(batch, -1, -1)
        ones = torch.ones(batch, QUERIES, dtype=torch.long)
        both = model(ids, torch.cat([ones, mask], dim=1), queries, vision)
        tensors |= {f"{name}.{path}": value for path, value in model.state_dict().items()}
        tensors[f"{name}/queries"] = model(None, None, queries, vision)
        tensors[f"{name}/queries_with_text"] = both[:, :QUERIES]
        tensors[f"{name}/text"] = model(ids, mask, None, None) * mask[:, :, None]
        metadata[name] = json.dumps({**model.config.to_dict(), "num_query_tokens": QUERIES})
    save_file({name: value.contiguous() for name, value in tensors.items()}, OUT, metadata)


if __name__ == "__main__":
    main()
