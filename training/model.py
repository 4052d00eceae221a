"""BLIP-2 in plain torch, with the parameter names of the Hugging Face checkpoint.

In:  a `Size`, pictures, and for each picture several texts packed behind one prefix of queries.
Out: logits; `state_dict()` is the checkpoint (minus `patch_head.` and `facts.`, which exist only in training).

transformers' model cannot pack; it would encode the picture once for each question. export.py checks
that transformers, loading the exported folder, computes the same numbers as this file.

B pictures, C channels, S side, P patches + 1, D width, Q queries, T positions of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from language import FACT_SIZES
from scenes import NOUNS


@dataclass(frozen=True)
class Size:
    image: int
    patch: int
    width: int
    heads: int
    vision_layers: int
    qformer_layers: int
    queries: int
    text_layers: int
    positions: int = 256
    vocabulary: int = 832  # 768 pieces, <image>, padding up to a multiple of 64
    cross_every: int = 2


SIZES = {
    "pico": Size(image=96, patch=12, width=192, heads=3, vision_layers=5, qformer_layers=3, queries=16, text_layers=3),
    "mini": Size(image=112, patch=8, width=256, heads=4, vision_layers=6, qformer_layers=4, queries=16, text_layers=4),
}


def attend(q, k, v, heads, mask=None):
    """[B, N, D] x [B, M, D] -> [B, N, D]. Explicit, because on a CPU and at these lengths it is twice as fast as torch's fused attention."""
    split = lambda x: x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)
    q, k, v = split(q), split(k), split(v)
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1, dtype=q.dtype) @ v).transpose(1, 2).flatten(2)


class Named(nn.Module):
    """A container that gives submodules the checkpoint's names."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


# ---- Vision: pixels [B, 3, S, S] -> [B, P, D] -----------------------------------------------------


class VisionLayer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.self_attn = Named(qkv=nn.Linear(d, 3 * d), projection=nn.Linear(d, d))
        self.layer_norm1 = nn.LayerNorm(d, eps=1e-6)
        self.mlp = Named(fc1=nn.Linear(d, 4 * d), fc2=nn.Linear(4 * d, d))
        self.layer_norm2 = nn.LayerNorm(d, eps=1e-6)

    def forward(self, x):
        q, k, v = self.self_attn.qkv(self.layer_norm1(x)).chunk(3, -1)
        x = x + self.self_attn.projection(attend(q, k, v, self.heads))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.layer_norm2(x))))


class VisionEmbeddings(nn.Module):
    def __init__(self, size):
        super().__init__()
        d = size.width
        self.class_embedding = nn.Parameter(torch.randn(1, 1, d) * 0.02)
        self.position_embedding = nn.Parameter(torch.randn(1, (size.image // size.patch) ** 2 + 1, d) * 0.02)
        self.patch_embedding = nn.Conv2d(3, d, size.patch, size.patch)

    def forward(self, pixels):
        conv = self.patch_embedding
        patches = F.unfold(pixels, conv.kernel_size, stride=conv.stride).transpose(1, 2)
        patches = F.linear(patches, conv.weight.flatten(1), conv.bias)
        x = torch.cat([self.class_embedding.expand(len(pixels), -1, -1).to(patches.dtype), patches], 1)
        return x + self.position_embedding


class Vision(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embeddings = VisionEmbeddings(size)
        self.encoder = Named(layers=nn.ModuleList(VisionLayer(size.width, size.heads) for _ in range(size.vision_layers)))
        self.post_layernorm = nn.LayerNorm(size.width, eps=1e-6)

    def forward(self, pixels):
        x = self.embeddings(pixels)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x)


# ---- Q-Former: image tokens [B, P, D] -> [B, Q, D] -------------------------------------------------


class BertAttention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.attention = Named(query=nn.Linear(d, d), key=nn.Linear(d, d), value=nn.Linear(d, d))
        self.output = Named(dense=nn.Linear(d, d), LayerNorm=nn.LayerNorm(d, eps=1e-12))

    def keys(self, other):
        return self.attention.key(other), self.attention.value(other)

    def forward(self, x, keys, mask=None):
        return self.output.LayerNorm(x + self.output.dense(attend(self.attention.query(x), *keys, self.heads, mask)))


class QformerLayer(nn.Module):
    """Queries and, with `text`, words: they share self-attention; only queries look at the picture; each have a feed-forward of their own."""

    def __init__(self, d, heads, cross, text=False):
        super().__init__()
        self.attention = BertAttention(d, heads)
        if cross:
            self.crossattention = BertAttention(d, heads)
        self.cross = cross
        self.intermediate_query = Named(dense=nn.Linear(d, 4 * d))
        self.output_query = Named(dense=nn.Linear(4 * d, d), LayerNorm=nn.LayerNorm(d, eps=1e-12))
        if text:
            self.intermediate = Named(dense=nn.Linear(d, 4 * d))
            self.output = Named(dense=nn.Linear(4 * d, d), LayerNorm=nn.LayerNorm(d, eps=1e-12))

    def forward(self, x, image, count, mask=None):
        """`x` [B, count + T, D]: queries, then words; `image` keys and values of the picture, None in layers without cross-attention."""
        x = self.attention(x, self.attention.keys(x), mask)
        parts = []
        if count:
            queries = x[:, :count]
            if self.cross:
                queries = self.crossattention(queries, image)
            parts.append(self.output_query.LayerNorm(queries + self.output_query.dense(F.gelu(self.intermediate_query.dense(queries)))))
        if x.shape[1] > count:
            words = x[:, count:]
            parts.append(self.output.LayerNorm(words + self.output.dense(F.gelu(self.intermediate.dense(words)))))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


class Qformer(nn.Module):
    def __init__(self, size, text=False):
        super().__init__()
        self.layernorm = nn.LayerNorm(size.width, eps=1e-12)
        self.encoder = Named(layer=nn.ModuleList(QformerLayer(size.width, size.heads, i % size.cross_every == 0, text) for i in range(size.qformer_layers)))

    def keys(self, image):
        """Keys and values of image tokens [B, P, D] for each layer; None where a layer does not look at the picture."""
        return [layer.crossattention.keys(image) if layer.cross else None for layer in self.encoder.layer]

    def forward(self, x, keys, count, mask=None, states=None):
        """`states` receives the input of each layer."""
        x = self.layernorm(x)
        for layer, image in zip(self.encoder.layer, keys):
            if states is not None:
                states.append(x)
            x = layer(x, image, count, mask)
        return x


# ---- OPT: embeddings [B, T, D] -> hidden [B, T, D] -------------------------------------------------


class OptLayer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.self_attn = Named(q_proj=nn.Linear(d, d), k_proj=nn.Linear(d, d), v_proj=nn.Linear(d, d), out_proj=nn.Linear(d, d))
        self.self_attn_layer_norm = nn.LayerNorm(d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(self, x, mask):
        y, own = self.self_attn_layer_norm(x), self.self_attn
        x = x + own.out_proj(attend(own.q_proj(y), own.k_proj(y), own.v_proj(y), self.heads, mask))
        return x + self.fc2(F.relu(self.fc1(self.final_layer_norm(x))))


class OptDecoder(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embed_tokens = nn.Embedding(size.vocabulary, size.width)
        self.embed_positions = nn.Embedding(size.positions + 2, size.width)  # OPT starts at row 2
        self.layers = nn.ModuleList(OptLayer(size.width, size.heads) for _ in range(size.text_layers))
        self.final_layer_norm = nn.LayerNorm(size.width)

    def forward(self, x, positions, mask):
        x = x + self.embed_positions(positions + 2)
        for layer in self.layers:
            x = layer(x, mask)
        return self.final_layer_norm(x)


# ---- Together --------------------------------------------------------------------------------------


class PatchHead(nn.Module):
    """Training only. Predicts the noun of each patch, and whether a thing has its centre in it."""

    def __init__(self, size):
        super().__init__()
        self.noun = nn.Linear(size.width, len(NOUNS) + 2)  # none, nouns, unknown
        self.center = nn.Linear(size.width, 1)


class SceneHead(nn.Module):
    """Training only. Predicts the facts of the scene from the first four queries, and embeds facts as a prefix for lm-warmup."""

    def __init__(self, size):
        super().__init__()
        self.scene = nn.Linear(size.width, sum(FACT_SIZES[:2]))
        self.group = nn.Linear(size.width, sum(FACT_SIZES[2:7]))
        self.tables = nn.ModuleList(nn.Embedding(n, size.width) for n in FACT_SIZES[:7])
        self.slots = nn.Parameter(torch.randn(1, size.queries, size.width) * 0.02)

    def logits(self, queries):
        """Queries [B, Q, D] -> one [B, n] for each fact."""
        out = list(self.scene(queries[:, 0]).split(FACT_SIZES[:2], -1))
        for i in (1, 2, 3):
            out += self.group(queries[:, i]).split(FACT_SIZES[2:7], -1)
        return out

    def prefix(self, facts):
        """Facts [B, 17] -> a prefix for the language model, [B, Q, D]."""
        rows = [self.tables[0](facts[:, 0]) + self.tables[1](facts[:, 1])]
        for i in range(3):
            rows.append(sum(self.tables[2 + j](facts[:, 2 + 5 * i + j]) for j in range(5)))
        x = self.slots.expand(len(facts), -1, -1)
        return torch.cat([x[:, :4] + torch.stack(rows, 1), x[:, 4:]], 1)


class Blip2(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        self.query_tokens = nn.Parameter(torch.randn(1, size.queries, size.width))
        self.vision_model = Vision(size)
        self.qformer = Qformer(size)
        self.language_projection = nn.Linear(size.width, size.width)
        self.language_model = Named(model=Named(decoder=OptDecoder(size)))
        self.patch_head = PatchHead(size)
        self.facts = SceneHead(size)
        for name, part in self.named_modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=part.in_features**-0.5 * (0.5 if name.endswith(("projection", "fc2", "out_proj", "dense")) else 1.0))
                nn.init.zeros_(part.bias)
            elif isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight, std=0.03)

    @property
    def decoder(self):
        return self.language_model.model.decoder

    def see(self, pixels):
        """[B, 3, S, S] -> image tokens [B, P, D], queries [B, Q, D]."""
        image = self.vision_model(pixels)
        return image, self.query(image)

    def query(self, image):
        """Image tokens [B, P, D] -> queries [B, Q, D]."""
        return self.qformer(self.query_tokens.expand(len(image), -1, -1), self.qformer.keys(image), self.size.queries)

    def hidden(self, prefix, ids, positions, mask):
        """Prefix [B, Q, D] and ids [B, T] -> hidden states of the text [B, T, D]; positions [B, T] count from the prefix."""
        count = prefix.shape[1]
        ahead = torch.arange(count, device=ids.device).expand(len(ids), -1)
        x = torch.cat([prefix, self.decoder.embed_tokens(ids).to(prefix.dtype)], 1)
        return self.decoder(x, torch.cat([ahead, positions + count], 1), mask)[:, count:]

    def vocabulary(self, hidden):
        return F.linear(hidden, self.decoder.embed_tokens.weight)


def pack_mask(segments, queries):
    """Segment numbers [B, T] (-1 = padding) -> attention mask, bool [B, 1, Q + T, Q + T]."""
    count, length = segments.shape
    all_segments = torch.cat([segments.new_full((count, queries), -2), segments], 1)
    causal = torch.ones(queries + length, queries + length, dtype=torch.bool, device=segments.device).tril()
    same = (all_segments[:, :, None] == all_segments[:, None, :]) | (all_segments[:, None, :] == -2)
    return (same & causal)[:, None]


@torch.no_grad()
def greedy(model: Blip2, prefix, prompts: list[list[int]], newline: int, most=24):
    """Continue each prompt until a newline: one prompt for each row of prefix [B, Q, D]."""
    device = prefix.device
    texts = [list(prompt) for prompt in prompts]
    done = [False] * len(texts)
    for _ in range(most):
        length = max(map(len, texts))
        ids = torch.tensor([text + [1] * (length - len(text)) for text in texts], device=device)
        segments = torch.tensor([[0] * len(text) + [-1] * (length - len(text)) for text in texts], device=device)
        positions = torch.arange(length, device=device).expand(len(texts), -1)
        hidden = model.hidden(prefix, ids, positions, pack_mask(segments, prefix.shape[1]))
        last = torch.tensor([len(text) - 1 for text in texts], device=device)
        chosen = model.vocabulary(hidden[torch.arange(len(texts), device=device), last]).argmax(-1).tolist()
        for i, token in enumerate(chosen):
            if not done[i]:
                texts[i].append(token)
                done[i] = token == newline
        if all(done):
            break
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts)]
