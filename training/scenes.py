"""Scenes: things on a background, with all facts about them.

In:  the sprites of render.mjs (WORK/art/sprites.bin, sprites.json) and nouns.json.
Out: `Scene` objects and batches of pictures as tensors.

A scene is composed in the unit square so that its words are true with a margin: "left of" means that the
picture was split between the groups, "big" means at least 2.2 times the area. `render` composes it at any size:
the model's size for training, 192 to 384 px for packs.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from styles import PLAIN, Style, restyle, sample_style

HERE = Path(__file__).parent
FIRST = ["noto", "noto-v1", "fluent-emoji-flat", "fluent-emoji", "fluent-emoji-3d", "fxemoji", "streamline-emojis"]
MONOCHROME = ["fluent-emoji-high-contrast", "fa7-solid", "mdi", "ph"]  # drawn in one colour, which the scene chooses
DESIGNS = {
    "trained": [*FIRST, "twemoji"],
    "icons": ["icon-park", *MONOCHROME],  # icons of user interfaces, a part of the training scenes
    "seen": FIRST,  # what the first edition of the model was trained on, and what the second added
    "twemoji": ["twemoji"],
    "unseen": ["emojione"],  # never trained on: the test
    "apart": ["openmoji"],  # nor this one, by which nothing is chosen; its licence is share-alike, so it is not shipped either
}
TRAINED = ("seen", "trained", "icons")  # groups that training may see
# Photographs of the package scikit-image in the public domain (CC0 or by NASA), by whether training may see them; none shows a known noun.
PHOTOGRAPHS = {
    True: ["astronaut.png", "brick.png", "cell.png", "clock_motion.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "retina.jpg"],
    False: ["camera.png", "microaneurysms.png", "ihc.png"],
}
WORDS = json.loads((HERE / "nouns.json").read_text())
CATEGORY = {noun: category for category, nouns in WORDS["categories"].items() for noun in nouns}
SHAPES = ["circle", "square", "rectangle", "triangle", "ellipse", "semicircle", "pentagon", "cross"]
CATEGORY.update({shape: "shape" for shape in SHAPES})
NOUNS = list(CATEGORY)
PAINTED = set(WORDS["painted"]) | set(SHAPES)  # nouns whose colour is always named

# Each colour word as ranges of hue (degrees), saturation and value, with gaps between neighbours.
COLORS = {
    "red": ((-7, 5), (0.8, 1.0), (0.75, 1.0)),
    "orange": ((24, 35), (0.85, 1.0), (0.92, 1.0)),
    "yellow": ((50, 59), (0.6, 1.0), (0.92, 1.0)),
    "green": ((95, 150), (0.45, 0.9), (0.45, 0.85)),
    "blue": ((205, 235), (0.6, 0.95), (0.6, 1.0)),
    "purple": ((265, 285), (0.5, 0.85), (0.5, 0.9)),
    "pink": ((325, 347), (0.3, 0.5), (0.95, 1.0)),
    "brown": ((18, 30), (0.5, 0.75), (0.35, 0.55)),
    "black": ((0, 360), (0.0, 0.1), (0.0, 0.06)),
    "white": ((0, 360), (0.0, 0.03), (0.95, 1.0)),
    "gray": ((0, 360), (0.0, 0.06), (0.48, 0.68)),
    "dark gray": ((200, 240), (0.0, 0.14), (0.12, 0.28)),
}
BACKGROUNDS = list(COLORS)
SHAPE_COLORS = [color for color in COLORS if color != "dark gray"]
# Hue, saturation factor and least value given to painted nouns.
PAINTS = {"red": (358, 1.0, 0.85), "orange": (28, 1.1, 0.95), "yellow": (53, 1.0, 0.97), "green": (120, 0.85, 0.7), "blue": (218, 0.95, 0.85), "purple": (274, 0.8, 0.8), "pink": (335, 0.5, 0.98)}
# Hue bands that name the natural colour of a drawing.
NATURAL = {"red": (-12, 8), "orange": (22, 38), "yellow": (46, 62), "green": (85, 160), "blue": (198, 245), "purple": (258, 292), "pink": (318, 346)}
# Kinds of scenes and how often each comes. In "scattered" ones things of one kind lie anywhere, not on lines.
KINDS = {"one": 22, "two": 20, "two scattered": 13, "repeated": 11, "scattered": 22, "three": 7, "unknown": 12, "empty": 1}
SMALLEST = 0.16  # side of a thing, as part of the picture's: two thirds of that is still two patches
# "grid" stands for every place of one kind of things that is neither a row nor a column, scattered ones too.
LAYOUTS = ["empty", "one", "row", "column", "grid", "beside", "stacked", "beside three", "stacked three", "unknown"]
MIPS = [256, 128, 96, 64, 48, 32, 24]
NATURAL_SHARE = 0.7
ICON_SHARE = 0.15  # of the groups of things in training
PALETTE_SHARE = 0.25  # of the drawings whose colours are not asked about: all hues are turned, not only a little
BIG_SIDE_RATIO = (1.75, 2.4)  # side ratio of big to small: at least 2.2 times the area with room for aspect jitter


def hsv_to_rgb(h, s, v):
    """Arrays of hue in degrees, saturation and value -> RGB in 0..1, stacked last."""
    k = (np.stack([np.full_like(h, 5.0), np.full_like(h, 3.0), np.full_like(h, 1.0)], -1) + (h / 60.0)[..., None]) % 6
    return v[..., None] * (1 - s[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1))


def rgb_to_hsv(rgb):
    """RGB in 0..1, last axis -> hue in degrees, saturation, value."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    v, low = rgb.max(-1), rgb.min(-1)
    span = np.maximum(v - low, 1e-6)
    h = np.where(v == r, ((g - b) / span) % 6, np.where(v == g, (b - r) / span + 2, (r - g) / span + 4)) * 60
    return h, (v - low) / np.maximum(v, 1e-6), v


def hue_distance(h, center):
    return np.abs((h - center + 180) % 360 - 180)


# ---- Atlas -------------------------------------------------------------------------------------


def paint(sprite, color):
    """Turn the main hue of a premultiplied uint8 sprite to a named colour; None where that cannot be seen clearly."""
    alpha = sprite[..., 3:] / 255.0
    rgb = sprite[..., :3] / 255.0 / np.maximum(alpha, 1e-3)
    h, s, v = rgb_to_hsv(np.clip(rgb, 0, 1))
    opaque = alpha[..., 0] > 0.5
    vivid = opaque & (s > 0.25) & (v > 0.2)
    if vivid.sum() < 0.3 * opaque.sum():
        return None
    histogram = np.histogram(h[vivid], 36, (0, 360), weights=(s * v)[vivid])[0]
    main = (histogram + np.roll(histogram, 1) + np.roll(histogram, -1)).argmax() * 10 + 5
    near = (hue_distance(h, main) < 45) & (s > 0.15)
    hue, saturation, least = PAINTS[color]
    lift = max(1.0, least / max(float(np.median(v[near & vivid])), 0.05))
    painted = hsv_to_rgb(np.full_like(h, hue), np.clip(np.maximum(s, 0.55) * saturation, 0, 1), np.clip(v * lift, 0, 1))
    rgb = np.where(near[..., None], painted, rgb)
    if (near & vivid).sum() < 0.75 * vivid.sum() or (near & vivid).sum() < 0.35 * opaque.sum():
        return None
    return np.concatenate([np.clip(rgb, 0, 1) * alpha, alpha], -1)


def natural_color(sprite):
    """The colour word of a drawing whose pixels agree, else None."""
    alpha = sprite[..., 3] / 255.0
    opaque = alpha > 0.5
    h, s, v = rgb_to_hsv(np.clip(sprite[..., :3][opaque] / 255.0 / alpha[opaque][:, None], 0, 1))
    if (s < 0.15).mean() > 0.8:
        if (v > 0.85).mean() > 0.75:
            return "white"
        return "black" if (v < 0.25).mean() > 0.75 else None
    bright = v > 0.3
    for name, (low, high) in NATURAL.items():
        inside = hue_distance(h, (low + high) / 2) <= (high - low) / 2
        strong = s > {"pink": 0.2, "orange": 0.75}.get(name, 0.5)  # a tan dog is not an orange dog
        if name in ("orange", "yellow", "red") and np.median(v) < 0.75:
            continue
        if (inside & strong & bright).sum() > NATURAL_SHARE * bright.sum() and bright.mean() > 0.7:
            return name
    return None


def shape_mask(shape, side=256):
    """White premultiplied drawing of one of SHAPES."""
    big = side * 4
    image = Image.new("L", (big, big), 0)
    draw = ImageDraw.Draw(image)
    m, b, c = big // 32, big - big // 32, big // 2
    if shape == "circle":
        draw.ellipse((m, m, b, b), fill=255)
    elif shape == "square":
        draw.rectangle((m, m, b, b), fill=255)
    elif shape == "rectangle":
        draw.rectangle((m, int(big * 0.27), b, int(big * 0.73)), fill=255)
    elif shape == "triangle":
        draw.polygon([(c, m), (b, b), (m, b)], fill=255)
    elif shape == "ellipse":
        draw.ellipse((m, int(big * 0.25), b, int(big * 0.75)), fill=255)
    elif shape == "semicircle":
        draw.pieslice((m, int(big * 0.25), b, int(big * 1.2)), 180, 360, fill=255)
    elif shape == "pentagon":
        draw.polygon([(c + (c - m) * math.sin(a), c - (c - m) * math.cos(a)) for a in np.arange(5) * 2 * math.pi / 5], fill=255)
    elif shape == "cross":
        t = big // 6
        draw.rectangle((c - t, m, c + t, b), fill=255)
        draw.rectangle((m, c - t, b, c + t), fill=255)
    mask = np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) / 255
    return np.repeat(mask[..., None], 4, -1)


def text_sprite(generator, side=256):
    """Renders a few words as a picture, which is out of domain."""
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    for line in range(generator.randint(1, 5)):
        word = "".join(generator.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ?!") for _ in range(generator.randint(3, 11)))
        draw.text((6, 8 + 48 * line), word, fill=255, font=ImageFont.load_default(generator.randint(26, 44)))
    mask = np.asarray(image, np.float32)[..., None] / 255
    ink = np.array([generator.random() * 0.3, generator.random() * 0.3, generator.random() * 0.3]) if generator.random() < 0.6 else np.ones(3) * 0.95
    return np.concatenate([mask * ink, mask], -1)


@dataclass
class Entry:
    """One sprite and its possible names."""

    noun: str | None
    set: str  # who drew it, "all" for what every group has
    color: str | None  # painted colour
    natural: str | None  # its natural colour, if that is certain
    unknown_icon: str | None  # icon name, for sprites that the model must not name
    mean: tuple[float, float, float]
    tinted: bool = False  # white; the scene sets its colour


def read_photograph(name: str):
    """uint8 [3, H, W]."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("Expected the package scikit-image, whose photographs are unknown pictures. Install it: pip install -r requirements.txt")
    return torch.from_numpy(np.array(Image.open(Path(package.origin).parent / "data" / name).convert("RGB"))).permute(2, 0, 1)


class Atlas:
    """All sprites at several sizes, and an index from words to sprites."""

    def __init__(self, work: Path):
        cached = work / "atlas.pt"
        if not cached.exists():
            torch.save(build_atlas(work), cached)
        saved = torch.load(cached, weights_only=False, mmap=True)
        self.entries: list[Entry] = saved["entries"]
        self.mips: dict[int, torch.Tensor] = saved["mips"]  # side -> uint8 [N, 4, side, side]
        self.photographs = {trained: [read_photograph(name) for name in names] for trained, names in PHOTOGRAPHS.items()}

    def index(self, designs: str):
        """(noun, painted colour or None) -> sprite ids, and the ids of unknown_sprites."""
        by_word: dict[str, dict[str | None, list[int]]] = {noun: {} for noun in NOUNS}
        unknown_sprites = []
        for i, entry in enumerate(self.entries):
            if entry.set not in (*DESIGNS[designs], "all"):
                continue
            if entry.noun is None:
                # every fifth unknown icon is kept for evaluation
                if entry.unknown_icon == "text" or (int.from_bytes(entry.unknown_icon.encode()[-4:], "big") % 5 == 0) == (designs not in TRAINED):
                    unknown_sprites.append(i)
            elif entry.noun in by_word:  # nouns.json may have lost nouns since the sprites were rendered
                by_word[entry.noun].setdefault(entry.color, []).append(i)
        return {noun: colors for noun, colors in by_word.items() if colors}, unknown_sprites


def build_atlas(work: Path):
    rows = json.loads((work / "art" / "sprites.json").read_text())
    pixels = np.memmap(work / "art" / "sprites.bin", np.uint8, "r", shape=(len(rows), 256, 256, 4))
    entries, sprites = [], []

    def add(sprite, **facts):
        """`sprite`: premultiplied float [256, 256, 4] in 0..1."""
        weight = max(float(sprite[..., 3].sum()), 1e-6)
        mean = tuple(float(sprite[..., c].sum()) / weight for c in range(3))
        entries.append(Entry(mean=mean, **facts))
        sprites.append(torch.from_numpy(np.ascontiguousarray(sprite, np.float32) * 255).round().to(torch.uint8).permute(2, 0, 1))

    for i, row in enumerate(rows):
        sprite = np.asarray(pixels[i])
        if row["set"] in MONOCHROME:
            white = np.repeat(sprite[..., 3:] / 255.0, 4, -1)
            for color in PAINTS if row["noun"] in PAINTED else [None]:
                add(white, noun=row["noun"], set=row["set"], color=color, natural=color, unknown_icon=None if row["noun"] else row["icon"], tinted=True)
        elif row["noun"] in PAINTED:
            for color in PAINTS:
                painted = paint(sprite, color)
                if painted is not None:
                    add(painted, noun=row["noun"], set=row["set"], color=color, natural=color, unknown_icon=None)
        else:
            unknown_icon = None if row["noun"] else row["icon"]
            add(sprite / 255.0, noun=row["noun"], set=row["set"], color=None, natural=natural_color(sprite) if row["noun"] and row["set"] not in DESIGNS["icons"] else None, unknown_icon=unknown_icon)
    for shape in SHAPES:
        add(shape_mask(shape), noun=shape, set="all", color=None, natural=None, unknown_icon=None, tinted=True)
    generator = random.Random(0)
    for _ in range(200):
        add(text_sprite(generator), noun=None, set="all", color=None, natural=None, unknown_icon="text")
    mips = {256: torch.stack(sprites)}
    for side in MIPS[1:]:
        mips[side] = torch.cat([F.interpolate(chunk.float(), (side, side), mode="bicubic", antialias=True).round().clamp(0, 255).to(torch.uint8) for chunk in mips[256].split(256)])
    return {"entries": entries, "mips": mips}


# ---- Scenes ------------------------------------------------------------------------------------


@dataclass
class Thing:
    sprite: int
    x: float  # centre, 0..1
    y: float
    side: float  # of the sprite's square, 1 = the whole picture
    angle: float
    aspect: float
    color: torch.Tensor  # [3, 3], applied to the sprite's RGB
    flip: bool = False


@dataclass
class Group:
    noun: str
    count: int
    color: str | None  # named in the caption
    natural: str | None  # may be asked about
    size: str | None  # "big", "small"
    things: list[Thing] = field(default_factory=list)


@dataclass
class Scene:
    background: str
    layout: str
    groups: list[Group]
    unknown: bool
    fill: tuple  # two corner colours and an angle: a flat colour when both are equal
    texture: float
    chaos: int  # seed of a procedural texture, 0 for none
    unknown_sprites: list[Thing] = field(default_factory=list)
    style: Style = PLAIN
    designs: str = "trained"

    @property
    def things(self):
        return [thing for group in self.groups for thing in group.things] + self.unknown_sprites


def sample_color(generator, name):
    (h0, h1), (s0, s1), (v0, v1) = COLORS[name]
    u = generator.uniform
    return tuple(hsv_to_rgb(np.array(u(h0, h1) % 360), np.array(u(s0, s1)), np.array(u(v0, v1))).tolist())


def cells(generator, region, count, rows=None, columns=None):
    """Centres and a side for `count` things that do not overlap within `region` (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = region
    if rows is None:
        options = [(r, -(-count // r)) for r in range(1, count + 1) if (r - 1) * -(-count // r) < count]
        best = max(min((x1 - x0) / c, (y1 - y0) / r) for r, c in options)
        rows, columns = generator.choice([(r, c) for r, c in options if min((x1 - x0) / c, (y1 - y0) / r) > 0.8 * best])
    width, height = (x1 - x0) / columns, (y1 - y0) / rows
    side = min(width, height) * generator.uniform(0.74, 0.96)
    slots = [(r, c) for r in range(rows) for c in range(columns)]
    if len(slots) > count:  # a short last row, centred
        full, rest = divmod(count, columns)
        slots = [(r, c) for r in range(full) for c in range(columns)] + [(full, (columns - rest) / 2 + c) for c in range(rest)]
    # Jitter across the short axis of a row or column stays small, so that it still reads as one.
    slack_x, slack_y = min(width - side, (0.25 if columns == 1 else 0.3) * side), min(height - side, (0.25 if rows == 1 else 0.3) * side)
    shift_x, shift_y = (width - side - slack_x) / 2, (height - side - slack_y) / 2
    dx, dy = generator.uniform(-1, 1) * shift_x, generator.uniform(-1, 1) * shift_y
    return [(x0 + width * (c + 0.5) + dx + generator.uniform(-0.5, 0.5) * slack_x, y0 + height * (r + 0.5) + dy + generator.uniform(-0.5, 0.5) * slack_y) for r, c in slots], side


def part(generator, region, least):
    """A rectangle somewhere inside `region`, of at least that share of each side."""
    x0, y0, x1, y1 = region
    w, h = (x1 - x0) * generator.uniform(least, 1), (y1 - y0) * generator.uniform(least, 1)
    x, y = generator.uniform(x0, x1 - w), generator.uniform(y0, y1 - h)
    return x, y, x + w, y + h


def scattered(generator, region, count):
    """Centres and a side for `count` things lying anywhere in `region` without touching, never near to a row or column."""
    x0, y0, x1, y1 = region
    width, height = x1 - x0, y1 - y0
    most = min(0.42, 0.72 * (width * height / count) ** 0.5, 0.95 * width, 0.95 * height)
    side = generator.uniform(min(SMALLEST, most), most)
    while True:
        for _ in range(12):
            places = []
            for _ in range(12 * count):
                x, y = generator.uniform(x0 + side / 2, x1 - side / 2), generator.uniform(y0 + side / 2, y1 - side / 2)
                if all(max(abs(x - a), abs(y - b)) > 1.06 * side for a, b in places):
                    places.append((x, y))
                if len(places) == count:
                    break
            if len(places) == count and not (count > 2 and min(spread(places)) < 0.6 * side):
                return places, side
        side *= 0.93


def spread(places):
    """How far apart the outermost centres are, across and down."""
    return tuple(max(values) - min(values) for values in zip(*places))


def clearly_apart(first, second, axis):
    """Centroids differ along an axis, 0 across or 1 down, by 0.15 of the picture, and on the other by less than half of that."""
    along, across = [abs(sum(place[i] for place in first) / len(first) - sum(place[i] for place in second) / len(second)) for i in (axis, 1 - axis)]
    return along >= 0.15 and across < along / 2


def recolor(generator, hue):
    """A colour matrix [3, 3]: hue turned by up to `hue` degrees, saturation and channels changed a little."""
    angle = math.radians(generator.uniform(-hue, hue))
    c, s = math.cos(angle), math.sin(angle)
    a, b, d = c + (1 - c) / 3, (1 - c) / 3 - s / 3**0.5, (1 - c) / 3 + s / 3**0.5
    turn = torch.tensor([[a, b, d], [d, a, b], [b, d, a]])
    saturation = generator.uniform(0.55, 1.2)
    fade = saturation * torch.eye(3) + (1 - saturation) / 3
    return torch.diag(torch.tensor([generator.uniform(0.88, 1.1) for _ in range(3)])) @ fade @ turn


def tint(generator, color=None):
    """A colour matrix that gives a white drawing this colour, or any."""
    return torch.diag(torch.tensor(sample_color(generator, color or generator.choice(SHAPE_COLORS))))


class SceneSampler:
    """Makes scenes from the sprites of one split; with `vary`, for training, sprites are also mirrored and recoloured."""

    def __init__(self, atlas: Atlas, designs: str, vary=False):
        self.atlas, self.designs = atlas, designs
        self.vary = vary
        self.emoji = atlas.index(designs)
        self.icons = atlas.index("icons") if vary else None

    def drawings(self, generator):
        """(sprites by noun and colour, unknown sprites) of emoji or, now and then, of icons."""
        return self.icons if self.icons and generator.random() < ICON_SHARE else self.emoji

    def choose(self, generator, used):
        """A noun not yet used, its colour, and the sprites that show it."""
        while True:
            by_word, _ = self.drawings(generator)
            noun = generator.choice(SHAPES if generator.random() < 0.18 else [noun for noun in by_word if noun not in SHAPES])
            if noun in used:
                continue
            color = generator.choice(SHAPE_COLORS if noun in SHAPES else list(by_word[noun]))
            return noun, color, by_word[noun][None if noun in SHAPES else color]

    def group(self, generator, used, places, side, size=None):
        noun, color, sprites = self.choose(generator, used)
        chosen = [generator.choice(sprites)] * len(places)
        entry = self.atlas.entries[chosen[0]]
        if generator.random() < 0.25 and noun in PAINTED:
            alike = [sprite for sprite in sprites if self.atlas.entries[sprite].tinted == entry.tinted]
            chosen = [generator.choice(alike) for _ in places]
        matrix, flip = self.variation(generator, free=noun not in PAINTED and entry.natural is None, named=noun in PAINTED)
        if entry.tinted:
            matrix = tint(generator, color)
        group = Group(noun, len(places), color, color if noun in PAINTED else entry.natural, size)
        for sprite, (x, y) in zip(chosen, places):
            group.things.append(self.thing(generator, sprite, x, y, side, matrix, flip, noun))
        return group

    def variation(self, generator, free, named=False):
        """A colour matrix and whether to mirror; hues turn only where no colour can be asked about."""
        if not self.vary:
            return torch.eye(3), False
        matrix = torch.eye(3) if named or generator.random() < 0.35 else recolor(generator, 0 if not free else 180 if generator.random() < PALETTE_SHARE else 30)
        return matrix, generator.random() < 0.4

    def thing(self, generator, sprite, x, y, side, color, flip, noun):
        shape = noun in SHAPES
        angle = generator.gauss(0, 0 if generator.random() < 0.4 else 6)
        aspect = 1.0 if shape or generator.random() < 0.4 else math.exp(generator.uniform(-0.14, 0.14) * (1.7 if self.vary else 1.0))
        return Thing(sprite, x, y, side * generator.uniform(0.95, 1.0), max(-15.0, min(15.0, angle)), aspect, color, flip)

    def scene(self, generator, kinds=KINDS) -> Scene:
        kind = generator.choices(list(kinds), [KINDS[kind] for kind in kinds])[0]
        layout, groups, unknown_sprites, chaos = "empty", [], [], 0
        if kind == "one":
            layout = "one"
            side = generator.uniform(0.18, 0.6) if generator.random() < 0.5 else generator.uniform(0.6, 1.0)
            free = (1 - side) / 2
            spread = free if side < 0.6 else free * 0.7
            groups = [self.group(generator, set(), [(0.5 + generator.uniform(-1, 1) * spread, 0.5 + generator.uniform(-1, 1) * spread)], side)]
        elif kind == "repeated":
            count = generator.choice([2, 2, 3, 3, 4, 4, 5, 6])
            layout = generator.choice(["row", "column", "grid", "grid"]) if count in (3, 4) else "grid"
            rows, columns = {"row": (1, count), "column": (count, 1)}.get(layout, (None, None))
            if layout == "grid" and count > 2:
                rows, columns = {3: (2, 2), 4: (2, 2)}.get(count) or generator.choice([(2, 3), (3, 2)])
            # Half of them fill the picture; the others keep to a part of it in which they have the smallest side at least.
            whole = (0, 0, 1, 1)
            region = whole if generator.random() < 0.5 else part(generator, whole, max(0.4, min(1.0, 0.17 * max(rows or 2, columns or 2) / 0.74)))
            places, side = cells(generator, region, count, rows, columns)
            groups = [self.group(generator, set(), places, min(side, generator.uniform(0.25, 0.5)))]
        elif kind == "scattered":
            layout = "grid"
            region = (0, 0, 1, 1) if generator.random() < 0.7 else part(generator, (0, 0, 1, 1), 0.7)
            places, side = scattered(generator, region, generator.choice([2, 3, 3, 4, 4, 5, 5, 6, 6]))
            groups = [self.group(generator, set(), places, side)]
        elif kind == "two scattered":
            layout = generator.choice(["beside", "stacked"])
            counts = generator.choices([(1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 2), (2, 3), (3, 3), (1, 4), (4, 1), (1, 5), (5, 1), (2, 4), (4, 2)], [3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 1, 1, 1, 1])[0]
            groups = self.split(generator, layout, counts, loose=True)
        elif kind == "two":
            layout = generator.choice(["beside", "stacked"])
            counts = generator.choices([(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 2), (2, 3), (3, 3), (1, 4), (4, 1)], [40, 10, 10, 10, 6, 6, 4, 4, 4, 3, 3])[0]
            groups = self.split(generator, layout, counts)
        elif kind == "three":
            layout = generator.choice(["beside three", "stacked three"])
            counts = generator.choices([(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)], [5, 1, 1, 1])[0]
            groups = self.split(generator, layout, counts)
        elif kind == "unknown":
            layout = "unknown"
            if generator.random() < 0.3:
                chaos = generator.randrange(1, 1 << 30)
            else:
                places, side = cells(generator, (0, 0, 1, 1), generator.choice([1, 1, 1, 2, 3]))
                sprite = generator.choice(self.drawings(generator)[1])
                matrix, flip = self.variation(generator, free=True)
                if self.atlas.entries[sprite].tinted:
                    matrix = tint(generator)
                unknown_sprites = [self.thing(generator, sprite, x, y, side, matrix, flip, None) for x, y in places]
        things = [thing for group in groups for thing in group.things] + unknown_sprites
        background, fill, texture = self.background(generator, groups, things)
        return Scene(background, layout, groups, layout == "unknown", fill, texture, chaos, unknown_sprites, sample_style(generator) if self.vary else PLAIN, self.designs)

    def split(self, generator, layout, counts, loose=False):
        """Groups side by side or one above the other, each within its own band of the picture; `loose` ones are scattered there."""
        weights = [0.6 + count for count in counts]
        edges = np.cumsum([0.0] + [weight / sum(weights) for weight in weights]).tolist()
        contrast = None
        if counts == (1, 1):
            edges = [0.0, 0.5, 1.0]
            if generator.random() < 0.35:
                contrast = generator.randrange(2)  # which one is big
                edges = [0.0, 0.62, 1.0] if contrast == 0 else [0.0, 0.38, 1.0]
        laid = []
        common = generator.uniform(0.36, 0.48) if contrast is not None or generator.random() < 0.7 else generator.uniform(0.2, 0.36)
        for i, count in enumerate(counts):
            low, high = edges[i], edges[i + 1]
            beside = layout.startswith("beside")
            # Singles keep near the middle line across the split, so that "left of" is never also "above".
            margin = generator.uniform(0.0, 0.22)
            region = (low, margin, high, 1 - margin) if beside else (margin, low, 1 - margin, high)
            if count == 1:
                span = high - low
                size, side = None, min(common, span * 0.98)
                if contrast is not None:
                    size = "big" if contrast == i else "small"
                    side = common * 1.2 if size == "big" else common * 1.2 / generator.uniform(*BIG_SIDE_RATIO)
                across = generator.uniform(-0.1, 0.1)
                along = (low + high) / 2 + generator.uniform(-0.5, 0.5) * max(0.0, span - side)
                places = [(along, 0.5 + across) if beside else (0.5 + across, along)]
            else:
                size = None
                places, side = scattered(generator, (low, 0, high, 1) if beside else (0, low, 1, high), count) if loose else cells(generator, region, count)
                side = min(side, 0.42)
            laid.append((places, side, size))
        if len(counts) == 2 and not clearly_apart(laid[0][0], laid[1][0], 0 if beside else 1):
            return self.split(generator, layout, counts, loose)
        groups, used = [], set()
        for places, side, size in laid:
            group = self.group(generator, used, places, side, size)
            used.add(group.noun)
            groups.append(group)
        return groups

    def background(self, generator, groups, things):
        """A colour that differs from those of the things, and its gradient."""
        taken = {group.color for group in groups} | ({"dark gray"} if any(group.color == "black" for group in groups) else set())
        means = [(thing.color @ torch.tensor(self.atlas.entries[thing.sprite].mean)).tolist() for thing in things]
        for _ in range(12):
            name = generator.choices(BACKGROUNDS, [3 if b == "white" else 2 if b in ("black", "dark gray") else 1 for b in BACKGROUNDS])[0]
            first = sample_color(generator, name)
            if name not in taken and all(sum((a - b) ** 2 for a, b in zip(first, mean)) > 0.08 for mean in means):
                break
        else:
            name = "white" if "white" not in taken else "gray"
            first = sample_color(generator, name)
        second = sample_color(generator, name) if generator.random() < 0.2 else first
        texture = generator.uniform(0.01, 0.05) if generator.random() < 0.1 else 0.0
        return name, (first, second, generator.uniform(0, 2 * math.pi)), texture


# ---- Pictures ----------------------------------------------------------------------------------


def unknown_picture(seed, size, photographs):
    """A whole picture that the model does not know: noise and patterns, part of a photograph, or a screen full of text."""
    generator = random.Random(seed)
    kind = generator.random()
    if kind < 0.35 and photographs:
        return photograph_part(generator, size, photographs)
    return screen_picture(generator, size) if kind < 0.5 else chaos_picture(seed, size)


def photograph_part(generator, size, photographs):
    """A square part of a photograph, turned, mirrored and recoloured."""
    photograph = generator.choice(photographs)
    side = int(min(photograph.shape[1:]) * generator.uniform(0.25, 1.0))
    y, x = generator.randint(0, photograph.shape[1] - side), generator.randint(0, photograph.shape[2] - side)
    piece = F.interpolate(photograph[None, :, y : y + side, x : x + side].float() / 255, (size, size), mode="bilinear", antialias=True)[0]
    piece = torch.rot90(piece, generator.randrange(4), (1, 2))
    return (recolor(generator, 20) @ (piece.flip(2) if generator.random() < 0.5 else piece).flatten(1)).view(3, size, size).clamp(0, 1)


def screen_picture(generator, size):
    """Boxes and lines of text, as in screenshots and documents."""
    dark = generator.random() < 0.4
    shade = lambda low, high: tuple(int(255 * (1 - generator.uniform(low, high) if not dark else generator.uniform(low, high))) for _ in range(3))
    image = Image.new("RGB", (size, size), shade(0.0, 0.15))
    draw = ImageDraw.Draw(image)
    y = generator.uniform(-0.05, 0.1) * size
    while y < size:
        height = generator.uniform(0.03, 0.12) * size
        if generator.random() < 0.3:
            x = generator.uniform(0, 0.5) * size
            draw.rounded_rectangle((x, y, x + generator.uniform(0.1, 0.6) * size, y + 2 * height), height / 3, fill=shade(0.05, 0.9))
            y += height
        else:
            text = " ".join("".join(generator.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(generator.randint(1, 9))) for _ in range(generator.randint(1, 9)))
            draw.text((generator.uniform(0.02, 0.2) * size, y), text, fill=shade(0.6, 1.0), font=ImageFont.load_default(max(5, height)))
        y += height * generator.uniform(1.1, 2.0)
    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)


def chaos_picture(seed, size):
    """Smooth noise, stripes and patches."""
    generator = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    photo = float(rand(1)) < 0.6  # light and shade over a few dull colours; else any colours at all
    picture = torch.zeros(1, 3, size, size)
    for octave in (2, 4, 8, 16, 32, 64):
        weight = (0.4 + float(rand(1))) * (2 / octave) ** 0.7 if photo else float(rand(1)) ** 2
        noise = rand(1, 1, octave, octave) + (0.3 / octave) * (rand(1, 3, octave, octave) - 0.5) * 4 if photo else rand(1, 3, octave, octave)
        picture += weight * (F.interpolate(noise, (size, size), mode="bicubic", align_corners=False) - 0.5)
    picture = picture[0] * (0.5 + float(rand(1)) * 1.5) + (rand(1, 1, 1) * 0.7 + rand(3, 1, 1) * 0.3 if photo else rand(3, 1, 1))
    axis = torch.linspace(0, 1, size)
    if rand(1) < 0.4:
        a, frequency = float(rand(1)) * 6.3, 10 + float(rand(1)) * 90
        wave = torch.sin(frequency * (math.cos(a) * axis[None] + math.sin(a) * axis[:, None]))
        picture += 0.4 * float(rand(1)) * wave * rand(3, 1, 1)
    for _ in range(int(rand(1) * 7)):
        x, y, w, h = (rand(4) * size).long().tolist()
        picture[:, y : y + h // 2 + 2, x : x + w // 2 + 2] = rand(3, 1, 1)
    return picture.clamp(0, 1)


def render(atlas: Atlas, scenes: list[Scene], size: int, warp=0.0):
    """Scenes -> pictures [B, 3, size, size] in 0..1 and the coverage of each thing, [T, size, size], with its scene [T].

    `warp` bends drawings (not shapes) by up to about that part of their side, as another designer might draw them.
    """
    first = torch.tensor([scene.fill[0] for scene in scenes])[:, :, None, None]
    second = torch.tensor([scene.fill[1] for scene in scenes])[:, :, None, None]
    angle = torch.tensor([scene.fill[2] for scene in scenes])[:, None, None]
    axis = torch.linspace(-0.7, 0.7, size)
    ramp = (0.5 + (torch.cos(angle) * axis[None, None] + torch.sin(angle) * axis[None, :, None]) * 0.7).clamp(0, 1)[:, None]
    canvas = first + (second - first) * ramp
    for i, scene in enumerate(scenes):
        if scene.texture:
            canvas[i] += scene.texture * (F.interpolate(torch.randn(1, 1, size // 4, size // 4), (size, size), mode="bilinear", align_corners=False)[0])
        if scene.chaos:
            canvas[i] = unknown_picture(scene.chaos, size, atlas.photographs[scene.designs in TRAINED])

    things = [(i, k, thing) for i, scene in enumerate(scenes) for k, thing in enumerate(scene.things)]
    owner = torch.tensor([i for i, _, _ in things], dtype=torch.long)
    layers = torch.empty(len(things), 4, size, size)
    buckets: dict[int, list[int]] = {}
    for t, (_, _, thing) in enumerate(things):
        pixels = thing.side * size
        buckets.setdefault(min((mip for mip in MIPS if mip >= pixels * 0.95), default=256), []).append(t)
    for mip, members in buckets.items():
        sprites = atlas.mips[mip][[things[t][2].sprite for t in members]].float() / 255
        theta = torch.empty(len(members), 2, 3)
        for row, t in enumerate(members):
            thing = things[t][2]
            c, s = math.cos(math.radians(thing.angle)), math.sin(math.radians(thing.angle))
            fit = 1 / (thing.side * max(1.0, (abs(c) + abs(s)) ** 0.5))
            ax, ay = (1.0, 1 / thing.aspect) if thing.aspect < 1 else (thing.aspect, 1.0)  # only ever narrower
            ax = -ax if thing.flip else ax
            x, y = 2 * thing.x - 1, 2 * thing.y - 1
            theta[row] = torch.tensor([[c * fit * ax, s * fit * ax, -(c * x + s * y) * fit * ax], [-s * fit * ay, c * fit * ay, -(-s * x + c * y) * fit * ay]])
        grid = F.affine_grid(theta, (len(members), 4, size, size), align_corners=False)
        if warp:
            bends = torch.tensor([0.0 if atlas.entries[things[t][2].sprite].tinted else warp for t in members])[:, None, None, None]
            field = torch.randn(len(members), 2, 4, 4) * bends * torch.rand(len(members), 1, 1, 1)
            grid = grid + F.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
        layer = F.grid_sample(sprites, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        colors = torch.stack([things[t][2].color for t in members])  # [N, 3, 3]
        layer[:, :3] = (colors @ layer[:, :3].flatten(2)).view(-1, 3, size, size)
        layers[members] = restyle(layer, [scenes[things[t][0]].style for t in members], [things[t][2].side * size for t in members])
    for k in range(max((k for _, k, _ in things), default=-1) + 1):
        members = [t for t, (_, order, _) in enumerate(things) if order == k]
        where = owner[members]
        canvas[where] = canvas[where] * (1 - layers[members, 3:]) + layers[members, :3]
    return canvas.clamp(0, 1), layers[:, 3], owner


def to_image(picture):
    """[3, H, W] in 0..1 -> a Pillow image."""
    return Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())


def jpeg(picture, quality):
    """One picture [3, H, W] through a JPEG file."""
    buffer = io.BytesIO()
    to_image(picture).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(buffer), np.float32) / 255).permute(2, 0, 1)


def augment(generator, pictures):
    """Augments a batch as chats change pictures: rescaling, noise, brightness, JPEG."""
    count, _, size, _ = pictures.shape
    few = lambda share: [i for i in range(count) if generator.random() < share]
    blurred = few(0.2)
    if blurred:
        low = generator.randint(size // 2, size - 8)
        small = F.interpolate(pictures[blurred], (low, low), mode="bicubic", antialias=True)
        pictures[blurred] = F.interpolate(small, (size, size), mode="bicubic", align_corners=False)
    noisy = few(0.25)
    if noisy:
        pictures[noisy] += torch.randn(len(noisy), 3, size, size) * generator.uniform(0.005, 0.03)
    gain = torch.tensor([[generator.uniform(0.92, 1.06)] for _ in range(count)])[:, :, None, None]
    pictures = (pictures * gain).clamp(0, 1)
    for i in few(0.06):
        pictures[i] = jpeg(pictures[i], generator.randint(60, 95))
    return pictures


def training_pictures(generator, atlas, scenes, size):
    """Augmented pictures [B, 3, size, size] for training, with coverage and owners of things as in `render`."""
    scale = 2 if generator.random() < 0.12 else 1
    pictures, coverage, owner = render(atlas, scenes, size * scale, warp=generator.choice([0.0, 0.0, 0.12, 0.2]))
    if scale > 1:
        pictures = F.interpolate(pictures, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        coverage = F.avg_pool2d(coverage[None], scale)[0]
    return augment(generator, pictures), coverage, owner
