"""Each rule of the ranking."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tarsd import routing
from tarsd.gossip.member import Load, Member, State
from tarsd.names import Capability, NodeId, NodeName, TraceId, Zone

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


def names(
    members: list[Member], *, failures: dict[NodeId, float] | None = None, trace: str = "t", **options: object
) -> str:
    ranked = routing.rank(members, CHAT, trace=TraceId(trace), now=100.0, failures=failures or {}, **options)  # type: ignore[arg-type]
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
    assert names(members, failures={members[0].node: 95.0}) == "ba"
    assert names(members, failures={members[0].node: 80.0}) == "ab"


def test_who_flapped_comes_last_but_comes() -> None:
    assert names([member("a", hold_s=3.0), member("b", load=Load(queued=9))]) == "ba"


def test_this_node_first_unless_a_peer_is_clearly_freer() -> None:
    me = member("a", is_self=True)
    assert names([member("b"), me]) == "ab"
    busy = member("a", is_self=True, load=Load(running=1))
    assert names([member("b"), busy]) == "ba"


def test_a_stale_load_counts_as_unknown() -> None:
    assert names([member("a", load=Load(queued=50), load_age_s=9.0), member("b", load=Load(queued=3))]) == "ab"


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
