"""Decides which memories say the same, so that one of them is enough. Pure.

Rules
1. Never across scopes, persons, projects, sorts or languages, nor where the times of validity differ.
2. All content must be in both: a word, number, name, date or negation that only one has makes them two; but for
   one weak word (`WEAK`) that notes leave out.
3. A word may be written otherwise: another form of the stem, a known synonym, one typing mistake in a long word that is
   no name; at most `MAX_MISTYPED` in a text.
4. The order may differ by one part of the sentence that stands elsewhere, and by when it is. Names keep their order
   among each other, and so do numbers and times; of several each keeps a neighbour: who owes whom, what is when.
5. Tense, persons ("my", "her"), and "in" against "on" must not clash.
6. What joins a group says the same as one of it, and clashes with none, nor with what those were merged of in other
   nights: "my doctor" and "her doctor" do not become one by way of "the doctor".
7. The text that stays is the longest of the newest half: it has the most words, and somebody said it late.

The rule is symmetric, and of a group one merge is left to do at most: what was merged is not current any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from msgspec.structs import replace

from tarsd.memory.bodies import MemoryBody, Source
from tarsd.planning.wording import Token, Wording, read
from tarsd.planning.wording_lists import BOTH_WORDS, CLASHES, WEAK

MERGED = "merged-"  # begins the id of what was made of several
MAX_MISTYPED = 2
MAX_TOKENS = 120  # longer texts are the same only to the word
MAX_SOURCES = 64
_SOUNDS_ALIKE = frozenset({"bv", "gj", "cs", "cz", "sz", "ck", "iy", "mn"})


class Found(NamedTuple):
    """A memory with its key and what it says; `before`: what those said that it was merged of."""

    key: str
    body: MemoryBody
    wording: Wording
    before: tuple[Wording, ...] = ()


class Merge(NamedTuple):
    """What is written for one group: the memory that takes the place of the others."""

    key: str
    made: MemoryBody
    replaced: list[tuple[str, MemoryBody]]


def found(key: str, body: MemoryBody, before: Iterable[MemoryBody] = ()) -> Found:
    """Return a memory as it is compared; `before`: those that it was merged of."""
    return Found(key, body, read(body.text, body.language), tuple(read(each.text, each.language) for each in before))


def merged_of(body: MemoryBody) -> list[str]:
    """Return the keys of all that a merged memory stands for, also over several nights."""
    keys = [key for source in body.sources for key in source.keys] if body.id.startswith(MERGED) else []
    return [key for key in dict.fromkeys(keys) if not key.startswith(f"memory/{MERGED}")]


def are_duplicates(one: Found, other: Found) -> bool:
    """Tell whether one of two memories is enough."""
    if not may_merge(one.body, other.body):
        return False
    pairs = [(mine, theirs) for mine in (one.wording, *one.before) for theirs in (other.wording, *other.before)]
    return any(say_the_same(*pair) for pair in pairs) and not any(_clash(*pair) for pair in pairs)


def may_merge(one: MemoryBody, other: MemoryBody) -> bool:
    """Tell whether two memories belong together at all (rule 1)."""
    if (one.scope, one.person, one.project, one.sort) != (other.scope, other.person, other.project, other.sort):
        return False
    if one.language != other.language and one.language and other.language:
        return False
    return (one.valid_from, one.valid_until) == (other.valid_from, other.valid_until)


def say_the_same(one: Wording, other: Wording) -> bool:
    """Tell whether two texts say the same (rules 2 to 5)."""
    if one.tense != other.tense or one.secret != other.secret or _clash(one, other):
        return False
    one, other = _joined(one, other), _joined(other, one)
    one, other = _without_weak(one, other)
    if not one.tokens or len(one.tokens) != len(other.tokens):
        return False
    if len(one.tokens) > MAX_TOKENS:
        return [token.plain for token in one.tokens] == [token.plain for token in other.tokens]
    paired = _pair(one.tokens, other.tokens)
    if paired is None:
        return False
    one, other = _named_alike(one, other, paired)
    return (
        _is_reordered(one, other, paired)
        and _facts_keep_order(one.tokens, paired)
        and _facts_keep_neighbours(one, other, paired)
    )


def groups(
    memories: Sequence[Found], pairs: Iterable[tuple[str, str]], apart: Iterable[frozenset[str]]
) -> list[list[Found]]:
    """Return groups of duplicates among candidate `pairs` of keys; `apart`: keys that people want apart (rule 6)."""
    by_key = {each.key: each for each in memories}
    divided = list(apart)

    def fit(joining: Found, group: Sequence[Found]) -> bool:
        whole = group[0]._replace(before=tuple(each for one in group for each in (one.wording, *one.before)))
        wanted_apart = any(joining.key in keys and one.key in keys for keys in divided for one in group)
        return are_duplicates(joining, whole) and not wanted_apart

    taken: dict[str, list[Found]] = {}
    for first, second in sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}):
        if first not in by_key or second not in by_key or (first in taken and second in taken):
            continue
        group = taken.get(first) or taken.get(second) or [by_key[first]]
        joining = by_key[second if any(each.key == first for each in group) else first]
        if fit(joining, group):
            group.append(joining)
            taken.update((each.key, group) for each in group)
    return list({id(group): group for group in taken.values()}.values())


def merge(group: Sequence[Found]) -> Merge:
    """Return what a group becomes; two nodes that see the same group write the same."""
    ordered = sorted(group, key=lambda each: (each.body.made_at, each.key))
    newest = ordered[len(ordered) // 2 :]
    stays = max(
        newest, key=lambda each: (len(each.wording.tokens), len(each.body.text), each.body.made_at, each.key)
    ).body
    keys = sorted(each.key for each in group)
    identity = MERGED + _digest(*keys)
    bodies = [each.body for each in ordered]
    made = replace(
        stays,
        id=identity,
        tags=_union(body.tags for body in bodies),
        keywords=_union(body.keywords for body in bodies),
        dates=_union(body.dates for body in bodies),
        made_at=max(body.made_at for body in bodies),
        made_by="nightly",
        sources=[Source(keys=keys), *_sources(bodies)][:MAX_SOURCES],
        salt=bytes.fromhex(_digest(*(f"{body.salt.hex()} {body.text}" for body in bodies))),
    )
    key = f"memory/{identity}"
    old = [(each.key, replace(each.body, replaced_by=key, replaced_why="merged")) for each in ordered]
    return Merge(key, made, old)


# --- within ---------------------------------------------------------------------------------------------------------


def _clash(one: Wording, other: Wording) -> bool:
    """Tell whether persons or places speak against it (rule 5)."""
    mine, theirs = one.persons - other.persons, other.persons - one.persons
    if any("".join(sorted((a, b))) in CLASHES for a in mine for b in theirs):
        return True
    here, there = dict(one.places), dict(other.places)
    return any(here[noun] != there[noun] for noun in here.keys() & there.keys())


def _joined(one: Wording, other: Wording) -> Wording:
    """Return a text with two words as one where the other text has them so: "flower pot", "flowerpot"."""
    whole = {token.plain: token for token in other.tokens if not token.kind}
    tokens = list(one.tokens)
    for number in reversed(range(len(tokens) - 1)):
        together = whole.get(tokens[number].plain + tokens[number + 1].plain)
        if together is not None and not tokens[number].kind and not tokens[number + 1].kind:
            tokens[number : number + 2] = [together]
    return replace(one, tokens=tuple(tokens))


def _without_weak(one: Wording, other: Wording) -> tuple[Wording, Wording]:
    """Return the texts without a weak word that only the longer one has (rule 2)."""
    if len(one.tokens) < len(other.tokens):
        return _without_weak(other, one)[::-1]
    theirs = {token.canon for token in other.tokens}
    weak = [token for token in one.tokens if token.canon in WEAK and token.canon not in theirs]
    if len(weak) != 1 or len(one.tokens) - 1 != len(other.tokens):
        return one, other
    return replace(one, tokens=tuple(token for token in one.tokens if token is not weak[0])), other


def _pair(one: Sequence[Token], other: Sequence[Token]) -> list[int] | None:
    """Return for each token its counterpart's place in the other text; None where one has none (rules 2 and 3)."""
    free = list(range(len(other)))
    places: list[int | None] = []
    for token in one:
        place = next((each for each in free if _is_same(token, other[each])), None)
        if place is not None:
            free.remove(place)
        places.append(place)
    mistyped = 0
    for number, token in enumerate(one):
        if places[number] is None:
            place = next((each for each in free if is_mistyped(token, other[each])), None)
            mistyped += 1
            if place is None or mistyped > MAX_MISTYPED:
                return None
            free.remove(place)
            places[number] = place
    return [place for place in places if place is not None]


def _is_same(one: Token, other: Token) -> bool:
    if one.plain == other.plain and "time" not in (one.kind, other.kind):
        return True
    if one.canon != other.canon:
        return False
    if "name" in (one.kind, other.kind):
        return one.plain == other.plain or one.kind == other.kind
    return one.plain == other.plain or not (one.ending and other.ending and one.ending != other.ending)


def is_mistyped(one: Token, other: Token) -> bool:
    """Tell whether one of two words is the other with a typing mistake."""
    if not (one.may_be_mistyped and other.may_be_mistyped):
        return False
    short, long = sorted((one.plain, other.plain), key=lambda word: (len(word), word))
    if len(short) < 5 or short[0] != long[0] or short[-1] != long[-1] or frozenset((short, long)) in BOTH_WORDS:
        return False
    start = next((place for place in range(len(short)) if short[place] != long[place]), len(short))
    if len(long) == len(short) + 1:
        doubled = long[start - 1] == long[start] or (start + 1 < len(long) and long[start] == long[start + 1])
        return short[start:] == long[start + 1 :] and (doubled or len(long) >= 7)
    if len(long) != len(short):
        return False
    if short[start + 1 :] == long[start + 1 :]:
        return "".join(sorted((short[start], long[start]))) in _SOUNDS_ALIKE or len(short) >= 9
    swapped = short[start : start + 2] == long[start : start + 2][::-1]
    return swapped and len(short) >= 6 and short[start + 2 :] == long[start + 2 :]


def _is_reordered(one: Wording, other: Wording, places: Sequence[int]) -> bool:
    """Tell whether the order differs by no more than rule 4 allows."""
    if is_one_move(places) or is_one_move(_without_times(one.tokens, places)):
        return True
    # "With wet paper the printer jams": what begins with a preposition stood at the end, and the verb keeps its place.
    return bool(one.begins_with) != bool(other.begins_with) and _are_ends_swapped(places)


def is_one_move(places: Sequence[int]) -> bool:
    """Tell whether a permutation is in order but for one block that stands elsewhere."""
    wrong = [number for number, place in enumerate(places) if place != number]
    return not wrong or len(_runs(places[wrong[0] : wrong[-1] + 1])) == 2


def _are_ends_swapped(places: Sequence[int]) -> bool:
    runs = _runs(places)
    return len(runs) == 3 and len(runs[1]) <= 2 and runs[0][0] > runs[1][0] > runs[2][0]


def _runs(places: Sequence[int]) -> list[list[int]]:
    """Return the longest blocks that are in order."""
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _without_times(tokens: Sequence[Token], places: Sequence[int]) -> list[int]:
    """Return the order of the other words: when something is may be said anywhere."""
    is_when = [token.kind == "time" or ":" in token.canon for token in tokens]
    for number, token in enumerate(tokens):  # the day of a month
        beside = [each for each in (number - 1, number + 1) if 0 <= each < len(tokens)]
        is_when[number] |= token.kind == "number" and any(tokens[each].kind == "time" for each in beside)
        is_when[number] |= token.canon == "cada" and any(tokens[each].kind == "time" for each in beside)
        is_when[number] |= token.canon == "every" and any(tokens[each].kind == "time" for each in beside)
        is_when[number] |= token.canon == "times" or (
            token.kind == "number" and any(tokens[each].canon == "times" for each in beside)
        )
    rest = [place for place, when in zip(places, is_when, strict=True) if not when]
    rank = {place: number for number, place in enumerate(sorted(rest))}
    return [rank[place] for place in rest]


def _facts_keep_order(one: Sequence[Token], places: Sequence[int]) -> bool:
    for kind in ("name", "number", "time"):
        order = [place for token, place in zip(one, places, strict=True) if token.kind == kind]
        if order != sorted(order):
            return False
    return True


def _facts_keep_neighbours(one: Wording, other: Wording, places: Sequence[int]) -> bool:
    for kind in ("name", "number", "time"):
        facts = [number for number, token in enumerate(one.tokens) if token.kind == kind]
        theirs = sorted(places[number] for number in facts)
        if len(facts) < 2 or (_is_one_run(facts) and _is_one_run(theirs)):
            continue
        for number in facts:
            mine = {places[each] for each in _neighbours(one.tokens, number)}
            if mine and not mine & set(_neighbours(other.tokens, places[number])):
                return False
    return True


def _named_alike(one: Wording, other: Wording, places: Sequence[int]) -> tuple[Wording, Wording]:
    """Return the texts with the same names: a first word is known for a name by where else it stands."""
    mine, theirs = list(one.tokens), list(other.tokens)
    for number, place in enumerate(places):
        kind = mine[number].kind or theirs[place].kind
        mine[number], theirs[place] = replace(mine[number], kind=kind), replace(theirs[place], kind=kind)
    return replace(one, tokens=tuple(mine)), replace(other, tokens=tuple(theirs))


def _is_one_run(numbers: Sequence[int]) -> bool:
    return numbers[-1] - numbers[0] == len(numbers) - 1


def _neighbours(tokens: Sequence[Token], number: int) -> list[int]:
    """Return the nearest plain words before and after a fact."""
    before = next((each for each in reversed(range(number)) if not tokens[each].kind), None)
    after = next((each for each in range(number + 1, len(tokens)) if not tokens[each].kind), None)
    return [each for each in (before, after) if each is not None]


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def _union(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(each for of_one in lists for each in of_one))[:MAX_SOURCES]


def _sources(bodies: Iterable[MemoryBody]) -> list[Source]:
    return [source for body in bodies for source in body.sources]


def all_pairs(keys: Sequence[str]) -> list[tuple[str, str]]:
    """Return all pairs of a small number of keys."""
    return list(combinations(keys, 2))
