"""How fast a member is taken to be, and where many questions at once go."""

from __future__ import annotations

from typing import Any

import pytest

from tarsd import calls, routing
from tarsd.gossip.member import Load
from tarsd.names import Capability, NodeId, TraceId
from tarsd.routing import Seen, Speed
from tests.burst import Node, alone_s, best_s, burst_s
from tests.test_routing import CHAT, member, names


def chats(name: str, load: Load | None = None, **attributes: Any) -> Any:
    given = {} if load is None else {"load": load}
    return member(name, capabilities={CHAT: attributes, calls.SUMMARIZE.name: {}}, **given)


def test_a_measured_speed_counts_where_no_rate_is_known() -> None:
    assert names([chats("a", speed=10.0), chats("b", speed=40.0)]) == "ba"
    assert names([chats("a", speed=40.0), chats("b", speed=10.0)]) == "ab"


def test_what_is_measured_for_chats_counts_for_summaries() -> None:
    pair = [chats("a", speed=10.0), chats("b", speed=40.0)]
    ranked = routing.rank(pair, calls.SUMMARIZE.name, trace=TraceId("t"), seen={})
    assert [m.name for m in ranked] == ["b", "a"]


def test_a_node_does_more_in_all_the_more_slots_are_busy_up_to_what_it_was_measured_at() -> None:
    speed = Speed(alone=60.0, together=120.0, slots=4)
    assert [speed.at(n) for n in (0, 1, 2, 4, 9)] == [60.0, 60.0, 80.0, 120.0, 120.0]


def test_without_a_measure_of_many_at_once_they_share_the_speed_of_one() -> None:
    assert routing.speed(chats("a", speed=60.0, slots=4), CHAT, Seen()) == Speed(60.0, 60.0, 4)


def test_of_two_busy_nodes_the_one_with_the_better_batch_answers_sooner() -> None:
    busy = Load(running=3, slots=4)
    pair = [
        chats("a", busy, speed=60.0, together=60.0, slots=4),
        chats("b", busy, speed=50.0, together=150.0, slots=4),
    ]
    assert names(pair) == "ba"


def test_a_free_slot_still_costs_since_others_are_slowed() -> None:
    measured = {"speed": 60.0, "together": 120.0, "slots": 4}
    pair = [chats("a", Load(running=3, slots=4), **measured), chats("b", Load(running=1, slots=4), **measured)]
    assert names(pair) == "ba"


def test_a_slow_answer_among_many_is_explained_by_the_many() -> None:
    measured = {"speed": 80.0, "together": 120.0, "slots": 4}
    of_late = routing.speed(chats("a", Load(tokens_per_s=30.0, slots=4), **measured), CHAT, Seen())
    assert of_late == Speed(80.0, 120.0, 4)


@pytest.mark.parametrize(("each", "scale"), [(15.0, 0.5), (160.0, 2.0), (0.0, 1.0)])
def test_what_no_load_explains_corrects_what_was_measured(each: float, scale: float) -> None:
    slow = chats("a", Load(tokens_per_s=each, slots=4), speed=80.0, together=120.0, slots=4)
    assert routing.speed(slow, CHAT, Seen()) == Speed(80.0 * scale, 120.0 * scale, 4)


def test_our_own_measure_of_all_it_does_corrects_before_what_it_reports() -> None:
    told = chats("a", Load(tokens_per_s=15.0, slots=4), speed=80.0, together=120.0, slots=4)
    assert routing.speed(told, CHAT, Seen(rate=100.0)) == Speed(80.0, 120.0, 4)
    assert routing.speed(told, CHAT, Seen(rate=40.0)) == Speed(40.0, 60.0, 4)


def test_an_unmeasured_node_does_what_each_of_its_answers_gets_times_their_number() -> None:
    busy = chats("a", Load(running=3, slots=4, tokens_per_s=20.0))
    assert routing.speed(busy, CHAT, Seen()) == Speed(60.0, 60.0, 4)


@pytest.mark.parametrize("nonsense", [float("inf"), float("nan"), -5.0, "80", True, 1e300])
def test_an_advertised_speed_that_is_none_counts_as_unknown(nonsense: Any) -> None:
    assert routing.speed(chats("a", speed=nonsense, slots=nonsense), CHAT, Seen()) is None


def test_a_figure_of_text_says_nothing_about_other_work() -> None:
    assert routing.speed(chats("a", Load(tokens_per_s=9.0), speed=80.0), Capability("search"), Seen()) is None


def test_our_own_calls_that_ended_since_the_report_are_taken_off_it() -> None:
    full = member("a", load=Load(running=1), load_age_s=0.5)
    assert not routing.is_free(full, Seen())
    assert routing.is_free(full, Seen(ended_s=((2.0, 0.1),)))
    assert not routing.is_free(full, Seen(ended_s=((2.0, 0.6),)))  # the report knows that it ended
    assert not routing.is_free(full, Seen(ended_s=((0.4, 0.1),)))  # and never contained this one


def test_a_full_home_keeps_no_more_than_its_share() -> None:
    """A margin of a fifth of the whole queue would hold back every sixth question from a neighbour that is free."""
    home = member("a", is_self=True, load=Load(running=1, queued=9))
    assert names([home, member("b", load=Load(running=1, queued=8))]) == "ba"
    assert names([home, member("b", load=Load(running=1, queued=9))]) == "ab"


def test_a_queue_of_a_fast_node_is_left_for_a_slow_ones_free_slot_only_where_that_is_sooner() -> None:
    fast, slow = chats("f", speed=80.0, together=160.0, slots=4), chats("s", speed=40.0, together=80.0, slots=4)

    def leaves(place: int, running: int) -> bool:
        seen = {slow.node: Seen(open_s=(1.0,) * running), fast.node: Seen(open_s=(1.0,) * 9)}
        return routing.is_sooner(slow, fast, place, CHAT, seen)

    assert [leaves(place, running=3) for place in (1, 4, 5)] == [False, False, True]
    assert routing.is_sooner(fast, slow, 1, CHAT, {})


def test_of_nodes_of_which_nothing_is_known_the_free_one_is_sooner() -> None:
    assert routing.is_sooner(chats("a"), chats("b"), 1, CHAT, {})
    assert routing.is_sooner(chats("a"), chats("b", speed=80.0), 1, CHAT, {})


# --- many at once -----------------------------------------------------------------------------------------------------

FAST, SLOW = NodeId("fast"), NodeId("slow")
HOSTS = [FAST, SLOW, None]
QUESTIONS = 20
AIM = 1.4
# With 20 questions and 4 slots the last wave of each node is not full. The more a full batch gains, the more that
# costs, whoever decides: no share of 20 brings 1.4 where four at once do twice what one does alone.
NEAR_BEST = 0.95


def pair(gain: float = 1.0, **slow: Any) -> list[Node]:
    """Two nodes of 2:1 speed with 4 slots each; four answers at once are `gain` times what one does alone."""
    return [Node(FAST, alone=80.0, together=80.0 * gain), Node(SLOW, alone=40.0, together=40.0 * gain, **slow)]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("known", ["measured", "of late"])
@pytest.mark.parametrize("seed", range(5))
def test_twenty_questions_at_once_take_two_nodes_a_1_4th_of_what_the_faster_takes(
    host: NodeId | None, known: Any, seed: int
) -> None:
    took_s = burst_s(pair(), QUESTIONS, host=host, known=known, seed=seed)
    assert took_s <= alone_s(pair()[0], QUESTIONS, seed) / AIM


@pytest.mark.parametrize("gain", [1.0, 1.25, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("known", ["measured", "of late"])
def test_whatever_a_batch_gains_the_spread_is_about_the_best_there_is(
    gain: float, host: NodeId | None, known: Any
) -> None:
    for seed in range(5):
        took_s = burst_s(pair(gain), QUESTIONS, host=host, known=known, seed=seed)
        assert took_s * NEAR_BEST <= best_s(pair(gain), QUESTIONS, seed)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_was_known_whoever_gets_free_takes_what_waits(host: NodeId | None, seed: int) -> None:
    alone = alone_s(pair()[0], QUESTIONS, seed)
    assert burst_s(pair(), QUESTIONS, host=host, known="nothing", seed=seed) <= alone / 1.2
    assert burst_s(pair(), QUESTIONS, host=host, known="nothing", seed=seed, moves=False) > alone / 1.05


def test_a_node_that_says_it_is_quicker_than_it_is_costs_what_moves_win_back() -> None:
    alone = alone_s(pair()[0], QUESTIONS, 1)
    boasts = {"host": FAST, "known": "measured", "seed": 1}
    assert burst_s(pair(claims=3.0), QUESTIONS, **boasts, moves=False) > alone
    assert burst_s(pair(claims=3.0), QUESTIONS, **boasts) < alone / 1.1
