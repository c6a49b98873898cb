"""Which remembered thing a wish to forget means: one, one of several, or none. Pure.

Rules
1. A memory is meant when it has most of the words that the wish names it by; summaries only where no memory is.
2. One is clear when it alone has all of them and tells of little else, or it is the very sentence. Otherwise the person
   chooses from a list, even of one: "my birthday" is not "my daughter's birthday is on May 3", and forgetting is for
   good.
3. The list is answered by a number, an ordinal or "all"; it is the last answer of the chat, so no node keeps it. What
   it names is taken only while it still stands in the list as it is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tarsd.calls import Memory, Turn
from tarsd.memory.recalling import asked_about, in_common
from tarsd.memory.remembering import normal
from tarsd.memory.stemming import words

MOST_LISTED = 9
MOST = 0.6
TOLD = 1 / 3  # of a memory's words, more than these are named where it is clear
SHOWN_CHARACTERS = 160

_ORDINALS = (
    "1 one first primera primero una uno",
    "2 two second segunda segundo dos",
    "3 three third tercera tercero tres",
    "4 four fourth cuarta cuarto cuatro",
    "5 five fifth quinta quinto cinco",
    "6 six sixth sexta sexto seis",
    "7 seven seventh septima septimo siete",
    "8 eight eighth octava octavo ocho",
    "9 nine ninth novena noveno nueve",
)
_NUMBER_OF = {word: number for number, names in enumerate(_ORDINALS, 1) for word in names.split()}
_ALL = frozenset(("all", "both", "everything", "todas", "todos", "todo", "ambas", "ambos"))
_FILLING = "the la el las los number numero num and y e please por favor forget olvida of them de ellas ellos that"
_FILLERS = frozenset(_FILLING.split())
_YES = frozenset(["yes", "si", "sure", "claro", "exacto", "correct", "ok"])  # to a list of one
_BOTH = re.compile(r"\bl[ao]s\s+dos\b", re.IGNORECASE)
_LINE = re.compile(r"^(\d)\. (.+)$", re.MULTILINE)


def meant(what: str, found: Sequence[Memory]) -> list[Memory]:
    """Return what a wish may mean, best first; one alone is clear (rules 1 and 2)."""
    same = [each for each in found if normal(each.text) == normal(what)]
    if len(same) == 1:
        return same
    asked = asked_about(what)
    if not asked:
        return []
    shares = [(in_common(asked, each)[0] / len(asked), each) for each in found]
    likely = sorted((pair for pair in shares if pair[0] >= MOST), key=lambda pair: -pair[0])
    memories = [pair for pair in likely if pair[1].kind == "memory"]
    chosen = memories or likely
    whole = [each for share, each in chosen if share == 1.0]
    return whole if len(whole) == 1 else [each for _, each in chosen][:MOST_LISTED]


def is_clear(what: str, memory: Memory) -> bool:
    """Tell whether the only memory that a wish may mean can be forgotten without asking (rule 2)."""
    if normal(memory.text) == normal(what):
        return True
    asked = asked_about(what)
    shared, told = in_common(asked, memory)
    return shared == len(asked) and shared > TOLD * told


def listed(memories: Sequence[Memory]) -> str:
    """Return the lines of the list that a person chooses from."""
    return "\n".join(f"{number}. {shown(each)}" for number, each in enumerate(memories, 1))


def shown(memory: Memory) -> str:
    """Return a memory as one line of it is shown."""
    text = " ".join((f"{memory.title}: {memory.text}" if memory.title else memory.text).split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def choice(message: str, turns: Sequence[Turn]) -> list[int]:
    """Return the numbers that a message chooses from the list which the last answer was, [] where it chooses none."""
    if not turns or not (lines := _LINE.findall(turns[-1].answer)):
        return []
    if _BOTH.search(message):  # "las dos" are both of two, and nobody knows which of more
        return [1, 2] if len(lines) == 2 else []
    said = [word for word in words(message) if word not in _FILLERS]
    if len(said) > 1 and said[-1] in ("one", "ones"):  # "the second one"
        said = said[:-1]
    if not said or len(said) > MOST_LISTED:
        return []
    if len(lines) == 1 and all(word in _YES for word in said):
        return [1]
    if all(word in _ALL for word in said):
        return [int(number) for number, _ in lines]
    if any(word not in _NUMBER_OF for word in said):
        return []
    return sorted({_NUMBER_OF[word] for word in said} & {int(number) for number, _ in lines})


def chosen(numbers: Sequence[int], turns: Sequence[Turn], memories: Sequence[Memory]) -> list[Memory]:
    """Return the memories at these numbers of the list, as far as they are remembered as they stand there."""
    lines = {int(number): text for number, text in _LINE.findall(turns[-1].answer)}
    by_line: dict[str, Memory] = {}
    for each in memories:
        by_line.setdefault(shown(each), each)
    return [by_line[lines[number]] for number in numbers if lines.get(number) in by_line]
