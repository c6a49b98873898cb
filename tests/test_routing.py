"""Each rule of the ranking."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd import routing
from tarsd.gossip.member import Flag, Load, Member, State
from tarsd.names import Capability, NodeId, NodeName, TraceId, Zone
from tarsd.routing import Seen

CHAT = Capability("chat")


def member(name: str, **changes: object) -> Member:
    base = Member(
        node=NodeId(name * 8),
        name=NodeName(name),
        zone=Zone.CORE,
        state=State.ALIVE,
        addresses=(("127.0.0.1", 1),),
        generation=1,
        incarnation=0,
        capabilities={CHAT: {}},
        roles=(),
        load=Load(),
        load_age_s=0.1,
        since_s=10,
        last_heard_s=0.1,
        rtt_ms=1,
        loss=0,
        reason="",
        version="",
        is_self=False,
    )
    return msgspec.structs.replace(base, **changes)


def names(members: list[Member], *, seen: dict[NodeId, Seen] | None = None, trace: str = "t", **options: Any) -> str:
    ranked = routing.rank(members, CHAT, trace=TraceId(trace), seen=seen or {}, **options)
    return "".join(m.name for m in ranked)


def test_only_routable_members_that_advertise_it() -> None:
    members = [
        member("a", state=State.SUSPECT),
        member("b", state=State.DEAD),
        member("c", zone=None),
        member("d", capabilities={}),
        member("e", one_way=True),
        member("f"),
    ]
    assert names(members) == "f"


def test_the_lab_is_asked_only_on_request() -> None:
    members = [member("a", zone=Zone.LAB), member("b")]
    assert names(members) == "b"
    assert names(members, zone=Zone.LAB) == "a"


def test_who_failed_lately_comes_last() -> None:
    members = [member("a"), member("b", load=Load(queued=9))]
    assert names(members, seen={members[0].node: Seen(failed_s=5.0)}) == "ba"
    assert names(members, seen={members[0].node: Seen(failed_s=20.0)}) == "ab"


def test_who_flapped_comes_last_but_comes() -> None:
    assert names([member("a", hold_s=3.0), member("b", load=Load(queued=9))]) == "ba"


def test_this_node_first_unless_a_peer_is_clearly_freer() -> None:
    me = member("a", is_self=True)
    assert names([member("b"), me]) == "ab"
    busy = member("a", is_self=True, load=Load(running=1))
    assert names([member("b"), busy]) == "ba"


def test_a_little_sooner_is_no_reason_to_switch() -> None:
    at_home = member("a", is_self=True, load=Load(tokens_per_s=100))
    assert names([member("b", load=Load(tokens_per_s=119)), at_home]) == "ab"
    assert names([member("b", load=Load(tokens_per_s=121)), at_home]) == "ba"


def test_a_conversation_stays_where_its_prefix_is_unless_that_is_clearly_busier() -> None:
    me, warm = member("a", is_self=True), member("b")
    assert names([me, warm], home=warm.node) == "ba"
    assert names([me, member("b", load=Load(queued=1))], home=warm.node) == "ab"
    assert names([me, member("b", state=State.SUSPECT)], home=warm.node) == "a"
    assert names([me, warm], home=warm.node, seen={warm.node: Seen(failed_s=1.0)}) == "ab"


def test_a_stale_load_counts_as_unknown() -> None:
    assert names([member("a", load=Load(queued=50), load_age_s=9.0), member("b", load=Load(queued=3))]) == "ab"


def test_a_faster_node_may_have_more_before_a_new_question() -> None:
    slow, fast = member("a", load=Load(tokens_per_s=10)), member("b", load=Load(running=1, tokens_per_s=40))
    assert names([slow, fast]) == "ba"


def test_an_unknown_rate_is_in_the_middle() -> None:
    members = [member("a", load=Load(tokens_per_s=10)), member("b"), member("c", load=Load(tokens_per_s=40))]
    assert all(names(members, trace=str(n)).index("b") < names(members, trace=str(n)).index("a") for n in range(20))


def test_a_reported_rate_says_nothing_about_work_that_is_no_text() -> None:
    search = Capability("search")
    members = [
        member("a", is_self=True, capabilities={search: {}}, load=Load(tokens_per_s=1)),
        member("b", capabilities={search: {}}, load=Load(tokens_per_s=90)),
    ]
    assert [m.name for m in routing.rank(members, search, trace=TraceId("t"), seen={})] == ["a", "b"]


def test_our_own_measure_of_a_rate_counts_before_the_reported_one() -> None:
    members = [member("a", load=Load(tokens_per_s=100)), member("b", load=Load(tokens_per_s=10))]
    seen = {members[0].node: Seen(rate=1.0), members[1].node: Seen(rate=50.0)}
    assert (names(members), names(members, seen=seen)) == ("ab", "ba")


def test_our_own_calls_that_a_report_cannot_contain_are_added() -> None:
    members = [member("a", load=Load(running=2), load_age_s=0.5), member("b", load=Load(running=3), load_age_s=0.5)]
    assert names(members) == "ab"
    just_now = Seen(open_s=(0.1, 0.2))
    assert names(members, seen={members[0].node: just_now}) == "ba"
    reported = Seen(open_s=(0.9,))
    assert names(members, seen={members[0].node: reported}) == "ab"


def test_our_own_open_calls_count_even_when_the_report_forgets_them() -> None:
    members = [member("a", load_age_s=0.0), member("b", load=Load(running=1))]
    assert names(members, seen={members[0].node: Seen(open_s=(5.0, 5.0))}) == "ba"


def test_the_newer_of_two_reports_counts() -> None:
    members = [member("a", load=Load(queued=9), load_age_s=1.0), member("b", load=Load(queued=3))]
    seen = {members[0].node: Seen(load=Load(), load_age_s=0.2)}
    assert (names(members), names(members, seen=seen)) == ("ba", "ab")
    older = {members[0].node: Seen(load=Load(), load_age_s=2.0)}
    assert names(members, seen=older) == "ba"


@pytest.mark.parametrize(
    "doubt",
    [{"busy_s": 2.0}, {"hold_s": 1.0}, {"load": Load(flags=Flag.LOADING)}, {"load": Load(flags=Flag.DRAINING)}],
)
def test_who_is_in_doubt_comes_after_all_others(doubt: dict[str, Any]) -> None:
    assert names([member("a", is_self=True, **doubt), member("b", load=Load(queued=9))]) == "ba"


def test_of_those_in_doubt_the_worst_comes_last() -> None:
    members = [member("a", load=Load(flags=Flag.DRAINING)), member("b", busy_s=8.0), member("c", hold_s=3.0)]
    assert names(members) == "cba"


def test_two_are_drawn_and_the_sooner_one_is_taken() -> None:
    members = [member(name, load=Load(queued=place)) for place, name in enumerate("abcdef")]
    firsts = [names(members, trace=str(n))[0] for n in range(300)]
    assert "f" not in firsts  # the busiest loses against whoever is drawn with it
    assert firsts.count("a") < 200  # and the idlest does not get everything: no herd
    assert firsts.count("a") > firsts.count("c") > firsts.count("e")


def test_only_who_is_known_to_be_idle_is_free() -> None:
    assert routing.is_free(member("a"), Seen())
    assert not routing.is_free(member("a", load=Load(running=1)), Seen())
    assert routing.is_free(member("a", load=Load(running=1, slots=2)), Seen())
    assert not routing.is_free(member("a", load_age_s=9.0), Seen())
    assert not routing.is_free(member("a"), Seen(open_s=(0.0,)))
    assert not routing.is_free(member("a", busy_s=1.0), Seen())


_LOADS = st.builds(
    Load, queued=st.integers(0, 9), running=st.integers(0, 2), tokens_per_s=st.floats(0, 200), flags=st.integers(0, 7)
)
_SEEN = st.builds(
    Seen,
    failed_s=st.none() | st.floats(0, 20),
    open_s=st.lists(st.floats(0, 9), max_size=3).map(tuple),
    rate=st.floats(0, 200),
    load=st.none() | _LOADS,
    load_age_s=st.floats(0, 9),
)


@given(
    st.lists(st.tuples(_LOADS, st.floats(0, 9), _SEEN, st.booleans()), min_size=1, max_size=6),
    st.text(),
    st.integers(0, 6),
)
def test_everybody_able_is_ranked_once_and_the_doubtful_last(
    given_members: list[tuple[Load, float, Seen, bool]], trace: str, home: int
) -> None:
    members = [
        member(name, load=load, load_age_s=age_s, is_self=name == "a", hold_s=float(held))
        for name, (load, age_s, _, held) in zip("abcdef", given_members, strict=False)
    ]
    seen = {m.node: own for m, (_, _, own, _) in zip(members, given_members, strict=True)}
    at = members[home].node if home < len(members) else None
    ranked = routing.rank(members, CHAT, trace=TraceId(trace), seen=seen, home=at)
    assert sorted(m.node for m in ranked) == sorted(m.node for m in members)
    doubts = [routing.doubt_s(m, seen[m.node]) for m in ranked]
    fine = doubts.count(0.0)
    assert doubts[fine:] == sorted(doubts[fine:])
    assert all(doubt == 0.0 for doubt in doubts[:fine])
    assert ranked == routing.rank(members[::-1], CHAT, trace=TraceId(trace), seen=seen, home=at)


def test_equal_nodes_share_the_questions() -> None:
    pair = [member("a"), member("b")]
    firsts = {names(pair, trace=str(n))[0] for n in range(40)}
    assert firsts == {"a", "b"}


def test_excluded_nodes_are_not_asked() -> None:
    pair = [member("a"), member("b")]
    assert names(pair, exclude=frozenset({pair[0].node})) == "b"


@given(st.sets(st.sampled_from("abcdefgh"), min_size=2), st.text())
def test_a_holder_moves_only_when_it_goes_itself(alive: set[str], key: str) -> None:
    members = [member(name) for name in sorted(alive)]
    holder = routing.holder(members, CHAT, key)
    others = [m for m in members if m.node == holder or m.name == "a" or m.name > "d"]
    assert holder in {m.node for m in members}
    assert routing.holder(others, CHAT, key) == holder
    assert routing.holder([], CHAT, key) is None
