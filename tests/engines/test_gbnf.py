from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines.gbnf import DEPTH, GRAMMAR_BYTES, check
from tarsd.errors import InvalidInput


def doubling(body: str, last: str) -> str:
    rules = [f"r{at} ::= {body.format(next=f'r{at + 1}')}" for at in range(40)]
    return "\n".join(["root ::= r0", *rules, f"r40 ::= {last}"])


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= "yes" | "no"',
        'root ::= item ("," item)* # a list\nitem ::= [a-z0-9_"\\]]{1,8} | "(" root ")"',
        "root ::= " + "(" * DEPTH + '"a"' + ")" * DEPTH,
        "\n".join(["root ::= r0", *(f"r{at} ::= r{at + 1}" for at in range(5000)), 'r5000 ::= "a"']),
        doubling('"x" {next} "y" {next}', '"a"'),  # as large, but each character takes one step only
    ],
)
def test_a_grammar_that_llama_cpp_can_take_is_let_through(grammar: str) -> None:
    check(grammar)


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("root ::= " + "(" * (DEPTH + 1) + '"a"' + ")" * (DEPTH + 1), "nested over 1000 deep"),
        (doubling("{next} | {next}", '"a"'), "ways"),
        (doubling("{next} {next}", '"a"?'), "ways"),
        ("root ::= " + "a" * GRAMMAR_BYTES, "bytes"),
        ('root ::= "a\0"', "zero byte"),
    ],
)
def test_one_that_would_end_or_occupy_the_process_is_refused_by_name(grammar: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=f"^tools: .*{reason}"):
        check(grammar, "tools")


def test_brackets_in_texts_classes_and_comments_are_no_groups() -> None:
    check('root ::= "' + "(" * 5000 + '" [' + "(" * 5000 + "] # " + "(" * 5000)


@given(st.text(alphabet='ab()|*+?{}[]":=\\ \n,1<>!.#', max_size=300))
def test_nonsense_is_read_to_its_end_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        check(text)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("opener", ["[", '"\\', "{", "<"])
def test_what_is_never_closed_is_refused_at_once(opener: str) -> None:
    with pytest.raises(InvalidInput, match="never closed"):
        check("root ::= " + opener * 60_000)


MANY = 10_000
NAMES = [f"{at:x}" for at in range(MANY // 2)]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= " + "x " * MANY + "\nx ::= " + ".|" * MANY + ".",
        "root ::= "
        + "|".join(f"{name} z" for name in NAMES)
        + "\nz ::= .\n"
        + "".join(f'{name} ::= ""\n' for name in NAMES),
    ],
    ids=["a rule that is named many times", "many rules that may be empty"],
)
def test_looking_at_a_grammar_takes_no_longer_than_it_is_long(grammar: str) -> None:
    check(grammar)


def test_what_may_be_empty_through_others_is_stepped_over() -> None:
    grammar = "root ::= " + "none " * 200 + "two*\ntwo ::= " + ".|" * 150 + ".\nnone ::= also also | .\nalso ::= two?"
    with pytest.raises(InvalidInput, match="ways"):
        check(grammar)
