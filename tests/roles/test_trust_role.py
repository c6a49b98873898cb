"""Certificates that renew while nodes run, revoking, and replacing the authorities: real certificates, real calls."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tarsd import calls
from tarsd.errors import InvalidInput, NotAllowed, NotFound, PeerLost, TarsdError, Unavailable
from tarsd.gossip.member import State
from tarsd.identity import create_invite, issuers, load_identity, request_renewal
from tarsd.identity.peer import PeerIdentity
from tarsd.identity.renewal import LOOK_EVERY_S, RETRY_LAST_S, alarm, next_look_s
from tarsd.identity.rotation import read_state
from tarsd.names import NodeId, NodeName, Zone
from tests.roles.trust_cluster import DAY_S, TrustCluster, TrustNode


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TrustCluster]:
    async with TrustCluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def four(house: TrustCluster) -> TrustCluster:
    """pc1 (with the root's key), pc2, pc3 and lab1."""
    for name in ("pc1", "pc2", "pc3"):
        await house.add(name)
    await house.add("lab1", Zone.LAB)
    return house


# --- renewing while running -----------------------------------------------------------------------------------------


async def test_a_server_whose_certificate_ended_renews_itself_and_serves_new_handshakes(house: TrustCluster) -> None:
    ended = time.time() - 31 * DAY_S
    pc1, pc2 = await house.add("pc1", born=ended), await house.add("pc2", born=time.time())
    with pytest.raises(PeerLost, match="its certificate has ended"):
        await pc2.asks(pc1)
    await pc1.trust.look()
    assert (await pc2.asks(pc1)).name == "pc1"
    assert pc1.trust.note() == ""


async def test_a_caller_whose_certificate_ended_renews_itself_and_gets_in(house: TrustCluster) -> None:
    pc1, pc2 = await house.add("pc1", born=time.time()), await house.add("pc2", born=time.time() - 31 * DAY_S)
    with pytest.raises((NotAllowed, PeerLost)):
        await pc2.asks(pc1)
    await pc2.trust.look()
    assert (await pc2.asks(pc1)).name == "pc1"


async def test_a_lab_node_has_its_certificate_renewed_by_a_core_node(house: TrustCluster) -> None:
    await house.add("pc1")
    lab = await house.add("lab1", Zone.LAB, born=time.time() - 25 * DAY_S)
    before = lab.identity.not_after
    await lab.trust.look()
    assert lab.identity.not_after > before + 20 * DAY_S
    assert load_identity(lab.identity.data_dir).not_after == lab.identity.not_after
    assert lab.identity.zone is Zone.LAB
    assert (await house["pc1"].asks(lab)).name == "lab1"


async def test_a_lab_node_asks_again_where_the_first_core_node_is_gone(house: TrustCluster) -> None:
    await house.add("pc1")
    lab = await house.add("lab1", Zone.LAB, born=time.time() - 25 * DAY_S)
    before = lab.identity.not_after
    house["pc1"].state = State.DEAD
    await lab.trust.look()
    assert lab.identity.not_after == before
    house["pc1"].state = State.ALIVE
    await lab.trust.look()
    assert lab.identity.not_after > before


async def test_a_certificate_that_is_not_due_is_left_alone(four: TrustCluster) -> None:
    before = {name: node.identity.not_after for name, node in four.nodes.items()}
    for node in four.nodes.values():
        await node.trust.look()
    assert {name: node.identity.not_after for name, node in four.nodes.items()} == before


async def test_a_revoked_lab_node_is_renewed_by_nobody(house: TrustCluster) -> None:
    pc1 = await house.add("pc1")
    lab = await house.add("lab1", Zone.LAB, born=time.time() - 25 * DAY_S)
    before = lab.identity.not_after
    await pc1.trust.revoke("lab1")
    lab.identity.notices._revoked.clear()  # it pretends that it was not told
    await lab.trust.look()
    assert lab.identity.not_after == before


def test_failures_are_tried_again_later_and_later_but_within_a_minute() -> None:
    rng = Random(1)
    assert next_look_s(0, rng) == LOOK_EVERY_S
    waits = [next_look_s(failures, rng) for failures in range(1, 40)]
    assert waits[0] <= 1.0
    assert max(waits) <= RETRY_LAST_S
    assert min(waits[10:]) >= RETRY_LAST_S / 2
    assert len(set(waits[10:])) > 10  # jitter


@pytest.mark.parametrize(
    ("left_days", "renews_itself", "told"),
    [
        (29, False, ""),
        (13.9, False, "less than 14 days"),
        (13.9, True, ""),
        (6.9, True, "less than 7 days"),
        (6.9, False, "less than 7 days"),
        (0.9, True, "less than 1 day "),
        (-0.1, True, "it renews itself"),
        (-0.1, False, "join again"),
    ],
)
def test_people_are_told_before_a_certificate_ends(left_days: float, renews_itself: bool, told: str) -> None:
    said = alarm(left_days * DAY_S, 0.0, renews_itself=renews_itself)
    assert told in said
    assert bool(said) == bool(told)


async def test_a_warning_is_logged_once_and_not_at_every_look(
    house: TrustCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await house.add("pc1", start=False)
    lab = await house.add("lab1", Zone.LAB, born=time.time() - 20 * DAY_S)
    lab.now = time.time() + 4 * DAY_S
    house["pc1"].state = State.DEAD
    with caplog.at_level(logging.WARNING, "tarsd.roles.trust"):
        for _ in range(3):
            await lab.trust.look()
    assert sum("ends in less than 7 days" in record.message for record in caplog.records) == 1
    assert lab.trust.note() == lab.trust.status()["note"] != ""


# --- revoking -------------------------------------------------------------------------------------------------------


async def test_revoking_tells_who_knows_and_who_does_not(four: TrustCluster) -> None:
    await four["pc2"].stop()
    report = await four["pc1"].trust.revoke("pc3", "sold")
    assert (report.acknowledged, report.waiting, report.held_authorities) == (["lab1"], ["pc2"], True)
    assert four["lab1"].identity.notices.of(four["pc3"].identity.node_id).reason == "sold"  # type: ignore[union-attr]
    assert four["pc3"].identity.node_id in load_identity(four["lab1"].identity.data_dir).notices  # on disk there
    with pytest.raises(TarsdError):
        await four["pc1"].asks(four["pc3"])


async def test_a_revoked_lab_node_held_no_authorities(four: TrustCluster) -> None:
    assert not (await four["pc1"].trust.revoke("lab1")).held_authorities


async def test_who_may_not_revoke_and_who_cannot_be(four: TrustCluster) -> None:
    with pytest.raises(NotAllowed, match="only core nodes"):
        await four["lab1"].trust.revoke("pc1")
    with pytest.raises(InvalidInput, match="cannot revoke itself"):
        await four["pc1"].trust.revoke("pc1")
    with pytest.raises(NotFound, match="pc9"):
        await four["pc1"].trust.revoke("pc9")
    with pytest.raises(InvalidInput, match="reason"):
        await four["pc1"].trust.revoke("pc2", "x" * 201)
    await four["pc1"].trust.revoke("pc2")
    four["pc2"].identity.notices.take(four["pc1"].identity.notices.all())
    with pytest.raises(NotAllowed, match="this node was revoked"):
        await four["pc2"].trust.revoke("pc1")
    with pytest.raises(NotAllowed, match="this node was revoked"):
        await four["pc2"].trust.rotate()
    assert "pc2 was revoked" in four["pc2"].trust.note()


async def test_a_node_that_nobody_sees_is_revoked_by_its_id(four: TrustCluster) -> None:
    report = await four["pc1"].trust.revoke("f" * 32)
    assert report.node == "f" * 32
    assert (await four["pc1"].trust.revoke("f" * 32)).already


async def test_the_lab_is_given_no_keys_of_authorities(four: TrustCluster) -> None:
    found = issuers.read_issuers(four["pc1"].identity.folder, 1)
    keys = {zone: tuple(signed) for zone, signed in found.items()}
    lab = four["lab1"]
    with pytest.raises(NotAllowed, match="takes no keys"):
        await four["pc1"].dispatch.one(
            calls.TRUST, calls.TrustRequest(authorities=keys), only=lab.identity.node_id, zone=Zone.LAB
        )
    with pytest.raises(NotAllowed, match="not for nodes of zone lab"):
        await lab.dispatch.one(calls.AUTHORITIES, calls.AuthoritiesRequest())
    assert {path.name for path in lab.identity.folder.iterdir()} <= {
        *("node.json", "node.key", "node.crt", "root.crt", "revoked.json", "revoked.copy.json"),
        "inviter.json",
    }


# --- replacing the authorities --------------------------------------------------------------------------------------


async def test_authorities_are_replaced_in_three_acknowledged_phases(four: TrustCluster) -> None:
    report = await four["pc1"].trust.rotate()
    assert (report.phase, report.generation) == ("done", 2)
    assert report.acknowledged == {
        "install": ["pc1", "pc2", "pc3"],
        "use": ["lab1", "pc1", "pc2", "pc3"],
        "remove": ["lab1", "pc1", "pc2", "pc3"],
    }
    for name, node in four.nodes.items():
        assert node.identity.issuer == 2, name
        assert node.identity.notices.minimum == 2
        assert load_identity(node.identity.data_dir).issuer == 2
    assert not any("core" in path.name for path in four["lab1"].identity.folder.iterdir())
    for one in ("pc1", "pc2", "pc3"):
        for other in four.nodes.values():
            if other.name != one:
                assert (await four[one].asks(other)).name == other.name


async def test_old_keys_are_good_for_nothing_afterwards(four: TrustCluster, tmp_path: Path) -> None:
    thief = tmp_path / "thief"
    shutil.copytree(four["pc3"].identity.data_dir, thief)  # with the keys of the first authorities
    await four["pc1"].trust.revoke("pc3", "stolen")
    await four["pc1"].trust.rotate()
    for node in ("pc1", "pc2"):
        await four[node].trust.look()
        assert not (four[node].identity.folder / "core.key").exists()
    made = TrustCluster(tmp_path / "other")
    stolen = load_identity(thief)
    made.nodes = {"pc3": TrustNode(stolen, made, time.time())}
    async with made:
        ghost = await made.add("ghost")  # let in by the thief himself
        made.nodes["pc1"] = four["pc1"]
        with pytest.raises((NotAllowed, PeerLost), match="replaced"):
            await ghost.asks(four["pc1"])
        forged = issuers.read_issuer(stolen.folder, Zone.CORE)
        assert four["pc1"].identity.issuer == 2
        assert forged.certificate != issuers.read_issuer(four["pc1"].identity.folder, Zone.CORE).certificate


async def test_calls_go_on_while_authorities_are_replaced(four: TrustCluster) -> None:
    answered, failed, over = 0, [], asyncio.Event()

    async def ask_on(one: TrustNode, other: TrustNode) -> None:
        nonlocal answered
        while not over.is_set():
            try:
                await one.asks(other)
                answered += 1
            except TarsdError as error:
                failed.append(f"{one.name} to {other.name}: {error}")
                return

    pairs = [("pc1", "pc2"), ("pc2", "pc1"), ("pc3", "pc2"), ("pc2", "lab1")]
    asking = [asyncio.create_task(ask_on(four[one], four[other])) for one, other in pairs]
    await four["pc1"].trust.rotate()
    over.set()
    await asyncio.gather(*asking)
    assert failed == []
    assert answered > 20


async def test_a_phase_waits_for_everybody_and_goes_on_where_it_stopped(
    four: TrustCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsd.roles.rotation.TRY_AGAIN_S", 0.0)
    del four["pc2"].handlers[calls.TRUST.name]  # alive, but it does not acknowledge
    with pytest.raises(Unavailable, match=r"pc2 did not acknowledge phase install.*again"):
        await four["pc1"].trust.rotate()
    assert (await four["pc1"].trust.rotation()).phase == "install"
    assert four["pc1"].identity.issuer == four["pc3"].identity.issuer == 1  # nothing begun before all have done it
    four["pc2"].handlers.update(four["pc2"].trust.handlers())
    assert (await four["pc1"].trust.rotate()).generation == 2


@pytest.mark.parametrize("phase", ["use", "remove"])
async def test_a_change_survives_a_restart_of_the_node_that_began_it(
    four: TrustCluster, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> list[str]:
        raise Unavailable("the power went")

    with monkeypatch.context() as broken:
        broken.setattr(f"tarsd.roles.rotation.Rotation._{phase}", lost)
        with pytest.raises(Unavailable, match="power"):
            await four["pc1"].trust.rotate()
    pc1 = four["pc1"]
    await pc1.stop()
    again = four.nodes["pc1"] = TrustNode(load_identity(pc1.identity.data_dir), four, time.time())
    await again.start()
    report = await again.trust.rotate()
    assert (report.phase, report.generation) == ("done", 2)
    await again.stop()


async def test_who_was_off_comes_in_with_its_old_certificate_and_gets_what_it_missed(four: TrustCluster) -> None:
    pc3 = four["pc3"]
    pc3.state = State.DEAD
    report = await four["pc1"].trust.rotate()
    assert "pc3" in report.off
    assert pc3.identity.issuer == 1
    pc3.state = State.ALIVE
    pc3.identity.notices.take(four["pc1"].identity.notices.all())  # by its first greeting
    await pc3.trust.look()
    assert pc3.identity.issuer == issuers.using(pc3.identity.folder) == 2
    assert (await pc3.asks(four["pc2"])).name == "pc2"
    assert (await four["pc2"].asks(pc3)).name == "pc3"
    create_invite(pc3.identity.data_dir)


async def test_who_was_off_learns_whom_the_retired_authority_had_revoked(four: TrustCluster) -> None:
    await four["pc2"].stop()
    await four["pc1"].trust.revoke("pc3")
    await four["pc1"].trust.rotate()
    pc2 = four["pc2"].identity.notices
    pc2.take(four["pc1"].identity.notices.all())  # the retirement comes first: the newest is told first
    assert pc2.minimum == 2
    assert four["pc3"].identity.node_id in pc2


async def test_a_lab_node_that_was_off_has_its_certificate_made_anew_on_return(four: TrustCluster) -> None:
    lab = four["lab1"]
    lab.state = State.DEAD
    await four["pc1"].trust.rotate()
    lab.state = State.ALIVE
    lab.identity.notices.take(four["pc1"].identity.notices.all())
    await lab.trust.look()
    assert lab.identity.issuer == 2
    assert (await four["pc2"].asks(lab)).name == "lab1"


async def test_without_the_root_key_it_is_told_where_that_is(four: TrustCluster) -> None:
    with pytest.raises(NotAllowed, match=r"root key .* is not on this PC: it is on pc1, run `tarsd rotate` there"):
        await four["pc2"].trust.rotate()
    assert (await four["pc2"].trust.rotation()).root_at == "pc1"
    (four["pc1"].identity.folder / "root.key").rename(four["pc1"].identity.folder / "away")
    with pytest.raises(NotAllowed, match="where `tarsd init` was run"):
        await four["pc1"].trust.rotate()
    assert read_state(four["pc1"].identity.folder) is None


async def test_the_keys_of_the_datagrams_are_renewed_with_the_authorities(four: TrustCluster) -> None:
    await four["pc1"].trust.rotate()
    for node in four.nodes.values():
        node.trust._see_notices()
        node.trust._see_notices()
        assert node.keys_rotated == 1


async def test_who_joins_after_a_change_gets_the_new_authorities_and_all_notices(four: TrustCluster) -> None:
    await four["pc1"].trust.revoke("pc3")
    await four["pc1"].trust.rotate()
    late = await four.add("late", born=time.time())
    assert late.identity.issuer == issuers.using(late.identity.folder) == 2
    assert four["pc3"].identity.node_id in late.identity.notices
    assert late.identity.notices.minimum == 2
    assert (await late.asks(four["pc2"])).name == "pc2"


async def on_return(node: TrustNode, told_by: TrustNode) -> None:
    """A node that was off is back, and hears by its first greeting what it missed."""
    await node.start()
    node.identity.notices.take(told_by.identity.notices.all())


async def test_who_missed_two_changes_holds_up_no_later_one(four: TrustCluster) -> None:
    await four["pc3"].stop()
    for _ in range(2):
        await four["pc1"].trust.rotate()
    await on_return(four["pc3"], four["pc1"])
    await four["pc3"].trust.look()
    report = await four["pc1"].trust.rotate()
    assert (report.phase, report.generation) == ("done", 4)
    assert "pc3" in report.acknowledged["remove"]


async def test_a_node_that_was_off_revokes_with_the_new_authority_or_says_that_it_cannot(four: TrustCluster) -> None:
    pc1, pc3 = four["pc1"], four["pc3"]
    await pc3.stop()
    await pc1.trust.rotate()
    await on_return(pc3, pc1)
    for name in ("pc1", "pc2"):
        four[name].state = State.DEAD
    with pytest.raises(Unavailable):
        await pc3.trust.revoke("lab1")
    assert four["lab1"].identity.node_id not in pc3.identity.notices
    for name in ("pc1", "pc2"):
        four[name].state = State.ALIVE
    assert (await pc3.trust.revoke("lab1")).acknowledged == ["pc1", "pc2"]
    assert four["lab1"].identity.node_id in pc1.identity.notices


async def cut_off_while_authorities_change(four: TrustCluster) -> TrustNode:
    """pc3 has revoked lab1 where nobody heard it, and learns later that its authority is retired."""
    pc1, pc2, pc3 = four["pc1"], four["pc2"], four["pc3"]
    for node in (pc1, pc2, four["lab1"]):
        node.state = State.DEAD
    await pc3.trust.revoke("lab1", "stolen")
    pc1.state = pc2.state = State.ALIVE
    await pc3.stop()
    await pc1.trust.rotate()
    await on_return(pc3, pc1)
    assert four["lab1"].identity.node_id not in pc1.identity.notices
    return pc3


async def test_what_was_revoked_while_cut_off_is_said_again_by_the_new_authority(four: TrustCluster) -> None:
    pc3 = await cut_off_while_authorities_change(four)
    await pc3.trust.look()
    four["pc1"].identity.notices.take(pc3.identity.notices.all())
    assert four["pc1"].identity.notices.of(four["lab1"].identity.node_id).reason == "stolen"  # type: ignore[union-attr]
    assert four["pc1"].identity.notices.digest == pc3.identity.notices.digest
    assert load_identity(pc3.identity.data_dir).notices.digest == pc3.identity.notices.digest


async def test_revoking_again_says_it_anew_where_others_do_not_believe_the_first(four: TrustCluster) -> None:
    pc3 = await cut_off_while_authorities_change(four)
    report = await pc3.trust.revoke("lab1")
    assert (report.already, report.acknowledged, report.waiting) == (True, ["pc1", "pc2"], [])
    assert four["lab1"].identity.node_id in four["pc2"].identity.notices


async def test_a_reason_of_several_lines_is_refused(four: TrustCluster) -> None:
    with pytest.raises(InvalidInput, match="one line"):
        await four["pc1"].trust.revoke("pc2", "sold\nand gone")


async def started_anew(four: TrustCluster, name: str) -> TrustNode:
    """A node in its next boot."""
    await four[name].stop()
    again = four.nodes[name] = TrustNode(load_identity(four[name].identity.data_dir), four, time.time())
    await again.start()
    return again


@pytest.mark.parametrize("forgets", [False, True])
async def test_who_was_met_in_an_earlier_boot_or_by_another_core_node_only_is_vouched_for(
    four: TrustCluster, forgets: bool
) -> None:
    pc3, lab = four["pc3"], four["lab1"]
    await pc3.stop()
    await lab.stop()
    if forgets:
        del four.tables[four["pc1"].identity.node_id][pc3.identity.node_id]
    pc1 = await started_anew(four, "pc1")
    assert next(member.zone for member in pc1.members() if member.name == "pc3") is None
    report = await pc1.trust.rotate()
    assert report.off == ["lab1", "pc3"]
    for node in (pc3, lab):
        await on_return(node, pc1)
        await node.trust.look()
        assert (await pc1.asks(node)).name == node.name
    assert (await pc3.asks(pc1)).name == "pc1"
    await pc1.stop()


async def test_a_lab_node_vouches_for_nobody(four: TrustCluster) -> None:
    friend = "f" * 32
    four.tables[four["lab1"].identity.node_id][friend] = Zone.CORE  # type: ignore[index]
    await four["pc1"].trust.rotate()
    refusal = four["pc1"].identity.notices.refusal
    assert refusal(PeerIdentity(NodeId(friend), NodeName("friend"), Zone.CORE, 1))
    assert not refusal(PeerIdentity(four["pc2"].identity.node_id, NodeName("pc2"), Zone.CORE, 1))


async def test_a_change_waits_for_one_that_is_there_but_not_met(
    four: TrustCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsd.roles.rotation.TRY_AGAIN_S", 0.0)
    pc3 = four["pc3"]
    await pc3.stop()
    pc1 = await started_anew(four, "pc1")
    pc3.is_greeting = False
    await pc3.start()
    with pytest.raises(Unavailable, match="pc3"):
        await pc1.trust.rotate()
    assert pc1.identity.notices.minimum == 1
    pc3.is_greeting = True
    assert (await pc1.trust.rotate()).phase == "done"
    await pc1.stop()


async def test_two_that_were_both_off_do_not_satisfy_each_other_with_the_old_authorities(four: TrustCluster) -> None:
    pc1, pc2, pc3 = four["pc1"], four["pc2"], four["pc3"]
    await pc2.stop()
    await pc3.stop()
    await pc1.trust.rotate()
    for node in (pc2, pc3):
        await on_return(node, pc1)
    pc1.state = State.DEAD
    with pytest.raises(Unavailable, match="not here yet"):
        await pc3.dispatch.one(calls.AUTHORITIES, calls.AuthoritiesRequest(), exclude={pc3.identity.node_id})
    with pytest.raises(Unavailable, match="not here yet"):
        await pc3.trust._fetch_authorities()
    with pytest.raises(Unavailable, match="not here yet"):
        await pc3.dispatch.one(
            calls.RENEW, calls.RenewRequest(request_renewal(pc3.identity)), exclude={pc3.identity.node_id}
        )
    pc1.state = State.ALIVE
    for node in (pc2, pc3):
        await node.trust.look()
        assert issuers.using(node.identity.folder) == 2


async def test_a_disk_that_fails_does_not_end_the_task(four: TrustCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    pc1 = four["pc1"]
    with monkeypatch.context() as broken:
        broken.setattr("tarsd.roles.trust.issuers.discard_before", full)
        await pc1.trust.look()
    await pc1.trust.look()

    looked = asyncio.Event()
    monkeypatch.setattr("tarsd.roles.trust.LOOK_AT_NOTICES_S", 0.0)
    monkeypatch.setattr(pc1.trust, "_see_notices", lambda: full() if not looked.is_set() else None)
    await pc1.trust.start()
    monkeypatch.setattr(pc1.trust, "look", lambda: asyncio.sleep(0, looked.set()))
    async with asyncio.timeout(30):
        await looked.wait()
    assert pc1.trust.problems() == []
    await pc1.trust.stop()
