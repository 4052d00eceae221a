"""Changes of style, so that a drawing is known by its shape and not by how its designer draws.

In:  layers of things, premultiplied RGBA [N, 4, S, S] in 0..1, and a `Style` for each.
Out: the same things with outlines added or removed, lines thicker, flat or shaded.

One scene has one style: emoji in one message come from one designer. Colours keep their names: a hue is never changed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Style:
    without_lines: bool = False  # thin dark lines take the colour of what surrounds them
    thick_lines: bool = False
    levels: int = 0  # colours rounded to so many levels, 0 = as drawn
    shade: float = 0.0  # light from above, negative from below
    outline: float = 0.0  # width of a dark line around and within the thing, as part of its side
    ink: tuple[float, float, float] = (0.0, 0.0, 0.0)


PLAIN = Style()
LEAST_DETAILED = 34  # pixels of a thing's side under which lines within it would fill it


def sample_style(generator) -> Style:
    """Half of the scenes keep the designer's style."""
    if generator.random() < 0.45:
        return PLAIN
    outlined, dark = generator.random() < 0.5, generator.uniform(0.0, 0.25)
    return Style(
        without_lines=generator.random() < 0.3,
        thick_lines=generator.random() < 0.12,
        levels=generator.choice([3, 4, 6]) if generator.random() < 0.35 else 0,
        shade=generator.uniform(-0.2, 0.45) if generator.random() < 0.35 else 0.0,
        outline=generator.uniform(0.012, 0.05) if outlined else 0.0,
        ink=(dark * generator.random(), dark * generator.random(), dark * generator.random()),
    )


def wider(x, pixels):
    """The greatest value within a square of that many pixels to each side."""
    return F.max_pool2d(x, 2 * pixels + 1, stride=1, padding=pixels)


def restyle(layers, styles: list[Style], sides: list[float]):
    """Layers changed in place, those of one style and one width of lines together; `sides` are in pixels."""
    widths = [max(1, round(style.outline * side)) if style.outline else 0 for style, side in zip(styles, sides)]
    keys = [(style, width, side >= LEAST_DETAILED) for style, width, side in zip(styles, widths, sides)]
    for style, width, is_detailed in {key for key in keys if key[0] != PLAIN}:
        rows = torch.tensor([i for i, key in enumerate(keys) if key == (style, width, is_detailed)])
        layers[rows] = changed(layers[rows], style, width, is_detailed)
    return layers


def changed(layer, style, width, is_detailed):
    scale = max(1, round(layer.shape[-1] / 96))
    alpha = layer[:, 3:]
    color = torch.where(alpha > 0.05, layer[:, :3] / alpha.clamp(min=0.05), torch.zeros(()))
    if style.without_lines:
        color = -wider(-wider(color, scale), scale)
    if style.thick_lines:
        color = torch.where(alpha > 0.05, -wider(-torch.where(alpha > 0.5, color, torch.ones(())), scale), color)
    if style.levels:
        color = (color * style.levels).round() / style.levels
    if style.shade:
        # A thing is taken for a cushion: its height is its blurred outline, and light falls on the side that rises.
        height = F.avg_pool2d(F.avg_pool2d(alpha, 8 * scale + 1, 1, 4 * scale), 8 * scale + 1, 1, 4 * scale)
        slope = F.pad(height[:, :, 2:] - height[:, :, :-2], (0, 0, 1, 1)) * 6 * scale
        color = color * (1 + style.shade * slope.clamp(-1, 1))
    if width:
        gray = color.mean(1, keepdim=True)
        edges = ((wider(gray, 1) + wider(-gray, 1)) * 2.5 - 0.5).clamp(0, 1) * (alpha > 0.5) * is_detailed
        if width > 1:
            edges = wider(edges, width - 1)
        ink = torch.tensor(style.ink)[:, None, None]
        color = color + (ink - color) * edges
        around = wider(alpha, width)
        color = color * alpha + ink * (around - alpha)
        return torch.cat([color.clamp(min=0).minimum(around), around], 1)
    return torch.cat([color.clamp(0, 1) * alpha, alpha], 1)
