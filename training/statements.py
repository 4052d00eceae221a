"""Statements about scenes for matching: sentences whose truth about any scene can be computed, and false neighbours of them.

In:  a `Scene` (scenes.py).
Out: `Statement`s that are true of it, in many wordings; whether a statement holds for another scene; the same statement
     with one word changed so that it is false.

A statement is exactly one of true, false and unclear about a scene. Unclear pairs (a colour that the drawing does not
settle, a caption that leaves out a group) are neither positives nor negatives.

The changed word is drawn so that language alone cannot tell: a noun that can have the same colour, a colour that the noun
can have, numbers and backgrounds accepted in proportion to how common they are (Metropolis). Wordings are symmetric:
"to the left of" is as often true as "to the right of".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from language import CAPTION_PROMPTS, IRREGULAR, NUMBERS, UNKNOWN_CAPTION, article, listed, plural
from scenes import BACKGROUNDS, CATEGORY, NOUNS, PAINTED, SHAPE_COLORS, SHAPES, Scene

OPPOSITE = {"to the left of": "to the right of", "to the right of": "to the left of", "above": "below", "below": "above"}
AXIS = {"to the left of": "beside", "to the right of": "beside", "above": "stacked", "below": "stacked"}
SWAPS = ["background", "count", "noun", "color", "relation"]
PREFIXES = [*CAPTION_PROMPTS, "an image of", "show me", "find"]  # forms 3 and up of a statement
BACKGROUND_COMMON = {name: 3 if name == "white" else 2 if name in ("black", "dark gray") else 1 for name in BACKGROUNDS}  # as in scenes.py


@dataclass(frozen=True)
class Mention:
    """Part of a statement: "two red cars", "a dog"; None = not said."""

    noun: str
    count: int | None
    color: str | None = None
    size: str | None = None

    def words(self) -> str:
        many = self.count is not None and self.count != 1
        noun = plural(self.noun) if many else self.noun
        phrase = " ".join(word for word in (self.size, self.color, noun) if word)
        if self.count is None:
            return phrase
        return f"{NUMBERS[self.count]} {phrase}" if many else article(phrase)


@dataclass(frozen=True)
class Statement:
    mentions: tuple[Mention, ...]
    background: str | None = None
    relation: str | None = None  # of the first mention to the second
    arrangement: str | None = None  # "row", "column"
    whole: bool = True  # says that nothing else is in the picture
    form: int = 0
    unknown: bool = False

    def text(self) -> str:
        if self.unknown:
            return UNKNOWN_CAPTION
        phrases = [mention.words() for mention in self.mentions]
        if not phrases:
            things = "nothing"
        elif self.relation:
            things = f"{phrases[0]} {self.relation} {phrases[1]}"
        else:
            things = listed(phrases) + (f" in a {self.arrangement}" if self.arrangement else "")
        ground = self.background and f"{article(self.background)} background"
        if ground is None:
            words = things
        elif self.form == 1:
            words = f"{ground} with {things}" if things != "nothing" else f"{ground} with nothing on it"
        elif self.form == 2:
            words = f"{things} on {self.background}"
        else:
            words = f"{things} on {ground}"
        return f"{PREFIXES[self.form - 3]} {words}" if self.form >= 3 else words


def statement_of(scene: Scene) -> Statement:
    """The canonical caption (language.caption) as a statement."""
    mentions = tuple(Mention(group.noun, group.count, group.color, group.size) for group in scene.groups)
    relation = {"beside": "to the left of", "stacked": "above"}.get(scene.layout)
    arrangement = scene.layout if scene.layout in ("row", "column") else None
    return Statement(mentions, None if scene.unknown else scene.background, relation, arrangement, unknown=scene.unknown)


def holds(statement: Statement, scene: Scene) -> bool | None:
    """Whether a statement is true of a scene; None = unclear."""
    if statement.unknown or scene.unknown:
        return statement.unknown == scene.unknown
    if statement.background and statement.background != scene.background:
        return False
    groups = {group.noun: group for group in scene.groups}
    unclear = statement.whole and len(scene.groups) > len(statement.mentions)
    for mention in statement.mentions:
        group = groups.get(mention.noun)
        if group is None or mention.count not in (None, group.count):
            return False
        for said, fact in ((mention.color, group.natural), (mention.size, group.size)):
            if said and fact and said != fact:
                return False
            unclear |= bool(said and not fact)
    if statement.arrangement and scene.layout != statement.arrangement:
        if scene.layout in ("row", "column", "grid"):
            return False
        unclear = True
    if statement.relation:
        layout = scene.layout.removesuffix(" three")
        if layout not in ("beside", "stacked"):
            return None if layout == "unknown" else False
        order = [group.noun for group in scene.groups]
        first, second = (order.index(mention.noun) for mention in statement.mentions)
        if AXIS[statement.relation] != layout:
            if scene.layout != layout:
                return None
            return False
        if (first < second) != (statement.relation in ("to the left of", "above")):
            return False
        unclear |= scene.layout != layout
    return None if unclear else True


def describe(generator, scene: Scene, canonical=0.4, partial=0.25) -> Statement:
    """A true statement in one of many wordings."""
    statement = statement_of(scene)
    if scene.unknown or generator.random() < canonical:
        return flipped(generator, statement)
    if scene.groups and generator.random() < partial:
        mentions = generator.sample(statement.mentions, generator.randint(1, min(2, len(statement.mentions))))
        mentions = [replace(mention, count=mention.count if generator.random() < 0.8 else None, color=mention.color if generator.random() < 0.7 else None, size=None) for mention in mentions]
        mentions = [replace(mention, color=None) if mention.count is None and generator.random() < 0.5 else mention for mention in mentions]
        background = scene.background if generator.random() < 0.4 else None
        return Statement(tuple(mentions), background, whole=False, form=generator.choice([0, 0, 0, 0, 1, 2, generator.randrange(3, 8)]))
    statement = flipped(generator, statement)
    if generator.random() < 0.35 and statement.mentions:
        statement = replace(statement, background=None)
    if generator.random() < 0.2:
        statement = replace(statement, relation=None, arrangement=None)
        if len(statement.mentions) > 1:
            statement = replace(statement, mentions=tuple(generator.sample(statement.mentions, len(statement.mentions))))
    return replace(statement, form=generator.choice([0, 0, 1, 2, generator.randrange(3, 8)]))


def flipped(generator, statement: Statement) -> Statement:
    """Half of the time the two sides of a relation change places: "a dog to the right of a cat"."""
    if statement.relation and generator.random() < 0.5:
        return replace(statement, mentions=statement.mentions[::-1], relation=OPPOSITE[statement.relation])
    return statement


class Swapper:
    """Makes false statements by one word; knows how common counts are and which colours nouns have."""

    def __init__(self, scenes: list[Scene]):
        """`scenes`: some thousands, to count what is common."""
        self.counts = Counter()
        self.colors: dict[str, set[str | None]] = {noun: set() for noun in NOUNS}
        for scene in scenes:
            for group in scene.groups:
                self.counts[len(scene.groups), group.count] += 1
                self.colors[group.noun].add(group.color)

    def swap(self, generator, statement: Statement, scene: Scene, kind: str, tries=12) -> Statement | None:
        """The statement with one word of this kind changed, false about the scene; None where there is no such word."""
        for _ in range(tries):
            changed = getattr(self, kind)(generator, statement, scene)
            if changed is not None and holds(changed, scene) is False:
                return changed
        return None

    def background(self, generator, statement, scene):
        if not statement.background:
            return None
        other = generator.choice(BACKGROUNDS)
        taken = {mention.color for mention in statement.mentions}
        if other in taken or generator.random() > BACKGROUND_COMMON[other] / BACKGROUND_COMMON[statement.background]:
            return None
        return replace(statement, background=other)

    def some(self, generator, statement, change):
        """The statement with one mention changed."""
        if not statement.mentions:
            return None
        i = generator.randrange(len(statement.mentions))
        changed = change(statement.mentions[i])
        return changed and replace(statement, mentions=statement.mentions[:i] + (changed,) + statement.mentions[i + 1 :])

    def count(self, generator, statement, scene):
        def change(mention):
            if mention.count is None or mention.size:
                return None
            if statement.arrangement:
                other = generator.choice([count for count in (3, 4) if count != mention.count])
            else:
                other = generator.choice([count for count in range(1, 7) if count != mention.count])
                groups = len(scene.groups)
                if generator.random() > self.counts[groups, other] / max(1, self.counts[groups, mention.count]):
                    return None
            return replace(mention, count=other)

        return self.some(generator, statement, change)

    def noun(self, generator, statement, scene):
        def change(mention):
            same = [noun for noun in NOUNS if noun != mention.noun and mention.color in self.colors[noun] and (noun in SHAPES) == (mention.noun in SHAPES)]
            near = [noun for noun in same if CATEGORY[noun] == CATEGORY[mention.noun]]
            other = generator.choice(near if near and generator.random() < 0.4 else same or NOUNS)
            if any(group.noun == other for group in scene.groups):
                return None
            return replace(mention, noun=other)

        return self.some(generator, statement, change)

    def color(self, generator, statement, scene):
        def change(mention):
            if not mention.color:
                return None
            colors = SHAPE_COLORS if mention.noun in SHAPES else sorted(color for color in self.colors[mention.noun] if color)
            colors = [color for color in colors if color not in (mention.color, scene.background)]
            return replace(mention, color=generator.choice(colors)) if colors else None

        return self.some(generator, statement, change)

    def relation(self, generator, statement, scene):
        return replace(statement, relation=OPPOSITE[statement.relation]) if statement.relation else None

    def exchange(self, generator, statement, scene):
        """Two words change places: two nouns, two counts or two colours."""
        if len(statement.mentions) < 2:
            return None
        i, j = generator.sample(range(len(statement.mentions)), 2)
        name = generator.choice(["noun", "count", "color"])
        a, b = statement.mentions[i], statement.mentions[j]
        if name == "noun" and (a.noun in PAINTED or b.noun in PAINTED or a.color or b.color):
            return None
        mentions = list(statement.mentions)
        mentions[i], mentions[j] = replace(a, **{name: getattr(b, name)}), replace(b, **{name: getattr(a, name)})
        return replace(statement, mentions=tuple(mentions))


def mistyped(generator, text: str) -> str:
    """One letter of a word lost, doubled or exchanged with the next."""
    i = generator.randrange(len(text) - 1)
    return text[:i] + generator.choice(["", text[i] * 2, text[i + 1] + text[i]]) + text[i + 1 :]


def vocabulary_words() -> list[str]:
    """Every word of the statements."""
    texts = [*NOUNS, *(plural(noun) for noun in NOUNS), *IRREGULAR.values(), *BACKGROUNDS, *NUMBERS, *PREFIXES, UNKNOWN_CAPTION, *OPPOSITE]
    texts += ["big small background with nothing on it in row column and an"]
    return sorted({word for text in texts for word in text.split()})
