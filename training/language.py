"""Captions, questions and answers about a scene.

In:  a `Scene` (scenes.py).
Out: its one canonical caption, and questions with their answers; the texts a tokenizer is trained on.

Answers follow from the facts of the scene alone. Each kind of question has several wordings. The last
wording of each kind is never trained on and measures whether a new wording is understood.
"""

from __future__ import annotations

from dataclasses import dataclass

from scenes import BACKGROUNDS, CATEGORY, LAYOUTS, NOUNS

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six"]
IRREGULAR = {"mouse": "mice", "fish": "fish", "snowman": "snowmen", "tomato": "tomatoes"}
UNKNOWN_CAPTION = "something i do not know"
UNKNOWN_ANSWER = "i am not sure"
# Earlier turns in a prompt, at most: train.py puts up to so many before a question. The weights in models/pico have seen one.
MAX_TURNS = 4
CAPTION_PROMPTS = ["a photo of", "a picture of"]

# {noun} singular, {nouns} plural, {the} "the dog" or "the dogs", {is} to agree with it.
WORDINGS = {
    "what": ["what is this?", "what is in the picture?", "what do you see?", "what does the picture show?", "what can you see here?", "what is shown?", "what is in this image?"],
    "color": ["what color {is} {the}?", "which color {is} {the}?", "what is the color of {the}?", "{the} {is} what color?", "what color {is} {the} in the picture?", "tell me the color of {the}.", "which color {is} {the} in the picture?"],
    "background": ["what color is the background?", "which color is the background?", "what is the background color?", "what is the color of the background?", "what color is behind the things?", "tell me the background color.", "which color is behind the things?"],
    "count": ["how many {nouns} are there?", "how many {nouns} do you see?", "how many {nouns} are in the picture?", "what is the number of {nouns}?", "count the {nouns}.", "how many {nouns} can you see?", "how many {nouns} are shown?"],
    "count all": ["how many things are there?", "how many things do you see?", "how many objects are there?", "how many things are in the picture?", "count all the things.", "how many objects are in the picture?"],
    "exists": ["is there {a}?", "do you see {a}?", "is there {a} in the picture?", "can you see {a}?", "does the picture show {a}?", "is there {a} here?"],
    "is this": ["is this {a}?", "is it {a}?", "does this look like {a}?", "is that {a}?", "is this picture of {a}?"],
    "are there": ["are there {number} {nouns}?", "do you see {number} {nouns}?", "are there {number} {nouns} in the picture?", "can you see {number} {nouns}?", "does the picture show {number} {nouns}?", "are there {number} {nouns} here?"],
    "category": ["is there {category}?", "do you see {category}?", "is there {category} in the picture?", "can you see {category}?", "does the picture show {category}?", "is there {category} here?"],
    "relation": ["{is} {the} {relation} {other}?", "{is} {the} {relation} {other} in the picture?", "do you see {the} {relation} {other}?", "can you see {the} {relation} {other}?", "does the picture show {the} {relation} {other}?"],
    "place": ["what is {place}?", "what do you see {place}?", "what can you see {place}?", "which thing is {place}?", "what does the picture show {place}?"],
    "more": ["are there more {nouns} than {others}?", "do you see more {nouns} than {others}?", "can you see more {nouns} than {others}?", "are there more {nouns} than {others} in the picture?", "does the picture show more {nouns} than {others}?"],
    "bigger": ["which is {comparative}, {the} or {other}?", "what is {comparative}, {the} or {other}?", "which one is {comparative}, {the} or {other}?", "which thing is {comparative}, {the} or {other}?", "{the} or {other}: which is {comparative}?"],
}
CATEGORIES = {"animal": "an animal", "plant": "a plant", "fruit": "a fruit", "food": "food", "vehicle": "a vehicle", "building": "a building", "shape": "a shape"}
RELATIONS = {"beside": ("to the left of", "to the right of"), "stacked": ("above", "below")}
PLACES = {"beside": ("on the left", "on the right"), "stacked": ("at the top", "at the bottom")}
# What people write around a question.
BEFORE = ["hey ", "hi, ", "so ", "ok ", "please ", "and ", "can you tell me ", "hmm, "]
AFTER = [" please", " pls", " plz", " thanks", " here", " now"]
# Kinds that are harder to learn are asked more often than their turn.
EMPHASIS = {"relation": 3.0, "color": 2.0, "place": 2.0}
# How many values each of `facts` may have.
FACT_SIZES = [len(BACKGROUNDS) + 1, len(LAYOUTS)] + [len(NOUNS) + 1, 7, len(BACKGROUNDS) + 1, len(BACKGROUNDS) + 1, 3] * 3


@dataclass(frozen=True)
class Question:
    kind: str
    text: str
    answer: str
    held_out: bool


def plural(noun: str) -> str:
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith("f"):
        return noun[:-1] + "ves"
    return noun + "s"


def article(words: str) -> str:
    return ("an " if words[0] in "aeio" or words.startswith("umbrella") else "a ") + words


def phrase(group, size=True) -> str:
    """"a big red car", "two dogs"."""
    adjectives = " ".join(word for word in ((group.size if size else None), group.color) if word)
    noun = group.noun if group.count == 1 else plural(group.noun)
    words = f"{adjectives} {noun}".strip()
    return article(words) if group.count == 1 else f"{NUMBERS[group.count]} {words}"


def the(group) -> str:
    return "the " + (group.noun if group.count == 1 else plural(group.noun))


def listed(phrases) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def caption(scene) -> str:
    if scene.unknown:
        return UNKNOWN_CAPTION
    phrases = [phrase(group) for group in scene.groups]
    ground = "on " + article(scene.background) + " background"
    if scene.layout == "empty":
        return f"nothing {ground}"
    if scene.layout in RELATIONS:
        return f"{phrases[0]} {RELATIONS[scene.layout][0]} {phrases[1]} {ground}"
    if scene.layout in ("row", "column"):
        return f"{phrases[0]} in a {scene.layout} {ground}"
    return f"{listed(phrases)} {ground}"


def questions(generator, scene, count: int, held_out_share: float = 0.0) -> list[Question]:
    """`count` questions of different kinds, yes and no in balance."""
    makers = sorted(MAKERS.items(), key=lambda maker: -(generator.random() ** (1 / EMPHASIS.get(maker[0], 1.0))))
    made = []
    for kind, maker in makers:
        made_one = maker(generator, scene)
        if made_one is None:
            continue
        answer, slots = made_one
        held_out = generator.random() < held_out_share
        wording = WORDINGS[kind][-1] if held_out else generator.choice(WORDINGS[kind][:-1])
        text = wording.format(**slots)
        made.append(Question(slots.get("kind", kind), text, UNKNOWN_ANSWER if scene.unknown else answer, held_out))
        if len(made) == count:
            break
    return made


def absent(generator, scene) -> str:
    """A noun that is not in the scene; now and then of the same category as one that is."""
    present = {group.noun for group in scene.groups}
    near = [noun for noun in NOUNS if scene.groups and CATEGORY[noun] == CATEGORY[scene.groups[0].noun] and noun not in present]
    if near and generator.random() < 0.3:
        return generator.choice(near)
    while True:
        noun = generator.choice(NOUNS)
        if noun not in present:
            return noun


def some_group(generator, scene):
    return generator.choice(scene.groups) if scene.groups else None


def yes_no(truth) -> str:
    return "yes" if truth else "no"


def ask_what(generator, scene):
    return (listed([phrase(group, size=False) for group in scene.groups]) if scene.groups else "nothing"), {}


def ask_color(generator, scene):
    group = some_group(generator, scene)
    if group is None or generator.random() < 0.2:
        noun = absent(generator, scene)
        if generator.random() < 0.5:
            return f"there is no {noun}", {"the": "the " + noun, "is": "is", "kind": "false premise"}
        return f"there are no {plural(noun)}", {"the": "the " + plural(noun), "is": "are", "kind": "false premise"}
    if group.natural is None:
        return None
    return group.natural, {"the": the(group), "is": "is" if group.count == 1 else "are"}


def ask_background(generator, scene):
    return scene.background, {}


def ask_count(generator, scene):
    group = some_group(generator, scene)
    if group is None or generator.random() < 0.15:
        return NUMBERS[0], {"nouns": plural(absent(generator, scene))}
    return NUMBERS[group.count], {"nouns": plural(group.noun)}


def ask_count_all(generator, scene):
    return NUMBERS[sum(group.count for group in scene.groups)], {}


def ask_exists(generator, scene):
    group = some_group(generator, scene)
    if group is None or generator.random() < 0.5:
        return "no", {"a": article(absent(generator, scene))}
    return "yes", {"a": article(group.noun)}


def ask_is_this(generator, scene):
    if len(scene.groups) > 1 or sum(group.count for group in scene.groups) > 1:
        return None
    return ask_exists(generator, scene)


def ask_are_there(generator, scene):
    group = some_group(generator, scene)
    if all(group.count == 1 for group in scene.groups) and generator.random() < 0.7:
        return None  # the answer would be no
    if group is None:
        return "no", {"number": generator.choice(NUMBERS[2:]), "nouns": plural(absent(generator, scene))}
    if group.count > 1 and generator.random() < 0.6:
        return "yes", {"number": NUMBERS[group.count], "nouns": plural(group.noun)}
    noun = group.noun if generator.random() < 0.7 else absent(generator, scene)
    number = generator.choice([n for n in range(2, 7) if noun != group.noun or n != group.count])
    return "no", {"number": NUMBERS[number], "nouns": plural(noun)}


def ask_category(generator, scene):
    shown = {CATEGORY[group.noun] for group in scene.groups}
    # Fruit is food and shapes may look like things, so those pairs are never asked about as a "no".
    yes = [category for category in CATEGORIES if category in shown]
    no = [category for category in CATEGORIES if category not in shown and not (category == "food" and "fruit" in shown) and not (category == "fruit" and "food" in shown)]
    if yes and generator.random() < 0.5:
        return "yes", {"category": CATEGORIES[generator.choice(yes)]}
    return "no", {"category": CATEGORIES[generator.choice(no)]}


def ask_relation(generator, scene):
    if scene.layout not in RELATIONS:
        return None
    first, second = scene.groups
    words = RELATIONS[scene.layout]
    truth = generator.random() < 0.5
    if generator.random() < 0.5:
        first, second, words = second, first, words[::-1]
    return yes_no(truth), {"the": the(first), "is": "is" if first.count == 1 else "are", "other": the(second), "relation": words[0 if truth else 1]}


def ask_place(generator, scene):
    layout = scene.layout.removesuffix(" three")
    if layout not in PLACES:
        return None
    last = generator.random() < 0.5
    return phrase(scene.groups[-1 if last else 0], size=False), {"place": PLACES[layout][last]}


def ask_more(generator, scene):
    if not scene.groups:
        return None
    groups = [(group.noun, group.count) for group in scene.groups]
    if len(groups) == 1 or generator.random() < 0.2:
        groups.append((absent(generator, scene), 0))
    first, second = generator.sample(groups, 2)
    return yes_no(first[1] > second[1]), {"nouns": plural(first[0]), "others": plural(second[0])}


def ask_bigger(generator, scene):
    if len(scene.groups) != 2 or scene.groups[0].size is None:
        return None
    first, second = generator.sample(scene.groups, 2)
    bigger = generator.random() < 0.5
    chosen = first if (first.size == "big") == bigger else second
    return the(chosen), {"the": the(first), "other": the(second), "comparative": "bigger" if bigger else "smaller"}


MAKERS = {
    "what": ask_what, "color": ask_color, "background": ask_background, "count": ask_count, "count all": ask_count_all,
    "exists": ask_exists, "is this": ask_is_this, "are there": ask_are_there, "category": ask_category,
    "relation": ask_relation, "place": ask_place, "more": ask_more, "bigger": ask_bigger,
}


def unknown_question(generator) -> str:
    """A question about a picture that the model does not know: any wording, any noun."""
    kind = generator.choice(list(WORDINGS))
    noun, other = generator.sample(NOUNS, 2)
    slots = {
        "nouns": plural(noun), "others": plural(other), "a": article(noun), "the": "the " + noun, "other": "the " + other, "is": "is",
        "number": generator.choice(NUMBERS[2:]), "category": generator.choice(list(CATEGORIES.values())), "comparative": generator.choice(["bigger", "smaller"]),
        "relation": generator.choice([word for pair in RELATIONS.values() for word in pair]), "place": generator.choice([word for pair in PLACES.values() for word in pair]),
    }
    return generator.choice(WORDINGS[kind][:-1]).format(**slots)


def scene_questions(generator, scene, count: int, held_out_share: float = 0.0) -> list[Question]:
    """Questions for any scene; about an unknown picture every answer is that the model is not sure."""
    if not scene.unknown:
        return questions(generator, scene, count, held_out_share)
    return [Question("unknown", unknown_question(generator), UNKNOWN_ANSWER, False) for _ in range(count)]


def typed(generator, text: str) -> str:
    """A question as people type it: no question mark, a word of courtesy, a letter amiss. The tokenizer takes care of capitals."""
    if generator.random() < 0.08:
        text = generator.choice(BEFORE) + text
    ending = text[-1] if text[-1] in "?." else ""
    if generator.random() < 0.2:
        ending = generator.choice(["", "", "", "??", "?!", "."])
    text = text.rstrip("?.")
    if generator.random() < 0.06:
        text += generator.choice(AFTER)
    if generator.random() < 0.06:
        at = generator.randrange(1, len(text) - 1)
        text = text[:at] + generator.choice(["", text[at] * 2, text[at + 1] + text[at]]) + text[at + 1 :]
    return text + ending


def said(generator, question: Question) -> str:
    """The answer of an earlier turn: mostly the right one, now and then a wrong one or that the model is not sure."""
    draw = generator.random()
    if draw < 0.7:
        return question.answer
    if draw < 0.82:
        return UNKNOWN_ANSWER
    if question.answer in ("yes", "no"):
        return "no" if question.answer == "yes" else "yes"
    for words in (NUMBERS, BACKGROUNDS):
        if question.answer in words:
            return generator.choice([word for word in words if word != question.answer])
    return generator.choice([article(generator.choice(NOUNS)), f"{generator.choice(NUMBERS[2:])} {plural(generator.choice(NOUNS))}"])


def facts(scene) -> list[int]:
    """The scene as class numbers: background, layout, then noun, count, colour, natural colour and size of three groups; 0 = none."""
    numbers = [0 if scene.unknown else BACKGROUNDS.index(scene.background) + 1, LAYOUTS.index(scene.layout)]
    for i in range(3):
        if i < len(scene.groups):
            group = scene.groups[i]
            color = lambda name: 0 if name is None else BACKGROUNDS.index(name) + 1
            numbers += [NOUNS.index(group.noun) + 1, group.count, color(group.color), color(group.natural), (None, "big", "small").index(group.size)]
        else:
            numbers += [0, 0, 0, 0, 0]
    return numbers
