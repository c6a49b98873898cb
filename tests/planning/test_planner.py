"""The planner's rules: which searches, and which passages of what they find."""

from hypothesis import given
from hypothesis import strategies as st

from tarsd.calls import Hit, Passage, Turn
from tarsd.names import Route
from tarsd.planning.planner import Plan, choose, plan

TURN = Turn("How much is the rent?", "900 euros [1].")


def hit(n: int, *, document: str = "d", page: int = 1, start: int | None = None, text: str = "x" * 100) -> Hit:
    begin = n * 1000 if start is None else start
    return Hit(Passage(str(n), document, f"{document}.pdf", page, begin, begin + len(text), text), 1.0 / (n + 1))


def test_inference_only_searches_nothing() -> None:
    assert plan(Route.INFERENCE_ONLY, "hello", [], context_tokens=8192, max_tokens=512).queries == []


def test_a_follow_up_is_searched_with_the_question_before_it() -> None:
    steps = plan(Route.NEEDS_CONTEXT, "and the deposit?", [TURN], context_tokens=8192, max_tokens=512)
    assert steps.queries == ["How much is the rent? and the deposit?"]


def test_a_whole_question_is_searched_alone() -> None:
    question = "When does the warranty of the boiler in the cellar end?"
    assert plan(Route.NEEDS_CONTEXT, question, [TURN], context_tokens=8192, max_tokens=512).queries == [question]


def test_synthesis_searches_the_parts_too() -> None:
    steps = plan(
        Route.SYNTHESIS, "compare the boiler manual and the heat pump offer", [], context_tokens=8192, max_tokens=512
    )
    assert steps.queries[1:] == ["compare the boiler manual", "the heat pump offer"]


def test_passages_fit_the_budget() -> None:
    chosen = choose([[hit(0), hit(1), hit(2)]], Plan(["q"], 4, 4, 250))
    assert [p.id for p in chosen] == ["0", "1"]


def test_no_more_than_the_share_of_one_document() -> None:
    found = [[hit(0, document="a"), hit(1, document="a"), hit(2, document="b")]]
    assert [p.id for p in choose(found, Plan(["q"], 4, 1, 10_000))] == ["0", "2"]


def test_the_same_place_is_not_shown_twice() -> None:
    found = [[hit(0), hit(5, start=40), hit(0)]]
    assert [p.id for p in choose(found, Plan(["q"], 4, 4, 10_000))] == ["0"]


def test_searches_take_turns() -> None:
    found = [[hit(0), hit(1)], [hit(2), hit(3)]]
    assert [p.id for p in choose(found, Plan(["a", "b"], 3, 3, 10_000))] == ["0", "2", "1"]


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=4), st.integers(0, 6), st.integers(0, 900))
def test_bounds_always_hold(found: list[list[int]], keep: int, budget: int) -> None:
    chosen = choose([[hit(n) for n in hits] for hits in found], Plan(["q"], keep, 3, budget))
    assert len(chosen) <= keep
    assert sum(len(p.text) for p in chosen) <= budget
    assert len({p.id for p in chosen}) == len(chosen)
