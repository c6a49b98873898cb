"""The budget of second attempts, rule by rule, on a clock of the test's own."""

from hypothesis import given
from hypothesis import strategies as st

from tarsd.dispatch.budget import CALLS_FOR_ONE, EARNED_MOST, FLOOR_MOST, FLOOR_PER_S, Budget


def taken(budget: Budget, now: float, *, urgent: bool) -> int:
    """Take until there is none."""
    count = 0
    while budget.take(now, urgent=urgent):
        count += 1
    return count


def test_a_node_that_seldom_calls_may_repeat_too() -> None:
    assert taken(Budget(0.0), 0.0, urgent=True) == FLOOR_MOST


def test_the_lower_half_of_the_floor_is_for_people() -> None:
    budget = Budget(0.0)
    assert taken(budget, 0.0, urgent=False) == FLOOR_MOST / 2
    assert taken(budget, 0.0, urgent=True) == FLOOR_MOST / 2


def test_calls_earn_a_share_up_to_a_bound() -> None:
    budget = Budget(0.0)
    taken(budget, 0.0, urgent=True)
    for _ in range(10):
        budget.called()
    assert taken(budget, 0.0, urgent=False) == 10 / CALLS_FOR_ONE
    for _ in range(1000):
        budget.called()
    assert taken(budget, 0.0, urgent=False) == EARNED_MOST


def test_the_floor_comes_back() -> None:
    budget = Budget(0.0)
    taken(budget, 0.0, urgent=True)
    assert taken(budget, 3.5, urgent=True) == int(3.5 * FLOOR_PER_S)
    assert taken(budget, 1e6, urgent=True) == FLOOR_MOST


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    budget = Budget(100.0)
    taken(budget, 100.0, urgent=True)
    assert taken(budget, 50.0, urgent=True) == 0
    assert taken(budget, 100.0, urgent=True) == 0


@given(
    st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["call", "person", "other"]), st.integers(1, 30)), max_size=60)
)
def test_second_attempts_are_bounded_in_every_window(history: list[tuple[float, str, int]]) -> None:
    budget, now = Budget(0.0), 0.0
    events: list[tuple[float, int, int]] = []  # when, calls, second attempts
    for pause_s, kind, times in history:
        now += pause_s
        if kind == "call":
            for _ in range(times):
                budget.called()
            events.append((now, times, 0))
        else:
            events.append((now, 0, sum(budget.take(now, urgent=kind == "person") for _ in range(times))))
    for start in range(len(events)):
        calls = again = 0
        for when, called, repeated in events[start:]:
            calls, again = calls + called, again + repeated
            within_s = when - events[start][0]
            assert again <= EARNED_MOST + FLOOR_MOST + calls / CALLS_FOR_ONE + within_s * FLOOR_PER_S + 1e-6
