"""Pure: whether a grammar (GBNF) can be given to llama.cpp at all; what is wrong in it llama.cpp itself tells.

Its parser recurses without a bound, and its matcher follows every way through a rule: some bytes of text end the
process or keep it busy for years. So before it sees a grammar:

Rules
1. Groups are nested at most `DEPTH` deep (llama.cpp's stack was seen to end between 1,000 and 20,000).
2. From any place the next character can be reached on at most `WAYS` ways: two rules that each name the next twice
   double them, forty such pairs are a trillion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tarsd.errors import InvalidInput

DEPTH = 1_000
WAYS = 20_000
GRAMMAR_BYTES = 256 * 1024

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n]+|\#[^\n]*)
      |(?P<define>[A-Za-z0-9-]+[ \t]*::=)
      |(?P<name>[A-Za-z0-9-]+)
      |(?P<text>"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|<[^>\n]*>|!<[^>\n]*>|\.)
      |(?P<open>\()|(?P<close>\))|(?P<or>\|)
      |(?P<optional>[*?]|\{[ \t]*0[^}]*\})
      |(?P<again>\+|\{[^}]*\})""",
    re.VERBOSE | re.DOTALL,
)


@dataclass
class _Rule:
    """Alternatives; each is a row of [rule that is named, None for characters; whether it may be left out]."""

    rows: list[list[list[object]]] = field(default_factory=lambda: [[]])
    ways: int = -1  # not known yet
    may_be_empty: bool = False
    is_counted: bool = False


@dataclass
class _Row:
    """A row of `rule` that may be empty once the `left` rules that it names may be."""

    rule: _Rule
    left: int


def check(grammar: str, name: str = "grammar") -> None:
    """Raise `InvalidInput`, naming the field `name`, for a grammar that would harm (see the rules)."""
    if len(grammar.encode()) > GRAMMAR_BYTES:
        raise InvalidInput(f"{name}: a grammar of {len(grammar.encode())} bytes, at most {GRAMMAR_BYTES} are taken")
    if "\0" in grammar:
        raise InvalidInput(f"{name}: a zero byte in a grammar")
    rules = list(_rules(grammar, name).values())
    _find_empty(rules)
    for rule in rules:
        _count(rule, name)


def _rules(grammar: str, name: str) -> dict[object, _Rule]:
    """Return the rules by name; a group is a rule of its own."""
    rules: dict[object, _Rule] = {}
    current, outer = _Rule(), list[_Rule]()
    at = 0
    while at < len(grammar):
        match = _TOKEN.match(grammar, at)
        if match is None:
            if grammar[at] in '"[{<':  # looked for from each place, its end would take for ever to miss
                raise InvalidInput(f"{name}: what {grammar[at]!r} opens at character {at} is never closed")
            at += 1  # an error, which llama.cpp tells better
            continue
        at = match.end()
        row = current.rows[-1]
        match match.lastgroup:
            case "define":
                outer.clear()
                current = rules.setdefault(match[0].removesuffix("::=").strip(), _Rule())
            case "name":
                row.append([rules.setdefault(match[0], _Rule()), False])
            case "text":
                row.append([None, match[0] == '""'])
            case "open":
                if len(outer) >= DEPTH:
                    raise InvalidInput(f"{name}: groups are nested over {DEPTH} deep")
                group = rules.setdefault(at, _Rule())
                row.append([group, False])
                outer.append(current)
                current = group
            case "close" if outer:
                current = outer.pop()
            case "or":
                current.rows.append([])
            case "optional" if row:
                row[-1][1] = True
    return rules


def _find_empty(rules: list[_Rule]) -> None:
    """Find what may be empty; each mention is looked at once, since its number is foreign."""
    waiting: dict[int, list[_Row]] = {}  # by the rule that they wait for
    open_: list[_Rule] = []
    for rule in rules:
        for row in rule.rows:
            needed = [one[0] for one in row if not one[1]]
            if not needed:
                open_.append(rule)
            elif all(isinstance(inner, _Rule) for inner in needed):
                waits = _Row(rule, len(needed))
                for inner in needed:
                    waiting.setdefault(id(inner), []).append(waits)
    while open_:
        rule = open_.pop()
        if rule.may_be_empty:
            continue
        rule.may_be_empty = True
        for row_left in waiting.get(id(rule), ()):
            row_left.left -= 1
            if not row_left.left:
                open_.append(row_left.rule)


def _may_skip(one: list[object]) -> bool:
    return bool(one[1]) or (isinstance(one[0], _Rule) and one[0].may_be_empty)


def _count(first: _Rule, name: str) -> None:
    """Count the ways to the next character from each place in a rule, inner rules first (rule 2)."""
    path = [first]
    while path:
        rule = path[-1]
        if rule.ways < 0:
            rule.ways = 0  # what names itself adds nothing here; llama.cpp refuses it if it is left recursion
            path += [one[0] for row in rule.rows for one in row if isinstance(one[0], _Rule) and one[0].ways < 0]
            continue
        path.pop()
        if rule.is_counted:  # it was named more than once
            continue
        rule.is_counted = True
        rule.ways = sum(_row_ways(row, name) for row in rule.rows)
        if rule.ways > WAYS:
            raise InvalidInput(f"{name}: a rule that can go on in over {WAYS} ways")


def _row_ways(row: list[list[object]], name: str) -> int:
    ways = 0
    for one in reversed(row):
        own = one[0].ways if isinstance(one[0], _Rule) else 1
        ways = own + (ways if _may_skip(one) else 0)
        if ways > WAYS:
            raise InvalidInput(f"{name}: a rule that can go on in over {WAYS} ways")
    return ways
