"""Real daemons: a node is thrown out by a person's command; the keys are replaced while calls go on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench.cluster import ApiError, Cluster, DaemonError, Plan, cluster
from tests.processes.real_nodes import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

WITHIN_S = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster, None]:
    """Three core nodes and a lab node; tests stand in the order in which things happen to them."""
    folder = tmp_path_factory.mktemp("revocation")
    plans = [Plan("pc1"), Plan("pc2"), Plan("pc3"), Plan("lab1", zone="lab")]
    async with cluster(plans, folder) as running:
        yield running


def identity_of(nodes: Cluster, name: str) -> Path:
    return nodes.folder / name / "data" / "identity"


async def reported(nodes: Cluster, name: str, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await nodes[name].command("--json", *arguments))
    return found


async def cluster_status(nodes: Cluster, asked: str) -> dict[str, Any]:
    """Return each node's account as `asked` gets it, by calls over mutual TLS; None where there is none."""
    found = await nodes.clients[asked].get("/api/status?cluster=1")
    return {entry["name"]: entry["status"] for entry in found["nodes"]}


async def test_the_lab_revokes_nobody(nodes):
    with pytest.raises(DaemonError, match="only core nodes can do this"):
        await nodes["lab1"].command("revoke", "--yes", "pc2")


async def test_a_node_does_not_revoke_itself_nor_a_stranger(nodes):
    with pytest.raises(DaemonError, match="cannot revoke itself"):
        await nodes["pc1"].command("revoke", "--yes", "pc1")
    with pytest.raises(DaemonError, match="no node 'pc7' is known"):
        await nodes["pc1"].command("revoke", "--yes", "pc7")


async def test_nobody_is_revoked_without_being_asked_twice(nodes):
    with pytest.raises(DaemonError, match="Nothing was done"):
        await nodes["pc1"].command("revoke", "pc3")
    assert (await nodes.clients["pc1"].members())["pc3"]["state"] == "alive"


async def test_a_revoked_node_is_out_everywhere_within_five_seconds(nodes):
    assert (await cluster_status(nodes, "pc3"))["pc1"] is not None
    await nodes["pc2"].stop()  # off in the meantime
    began = time.monotonic()
    report = await reported(nodes, "pc1", "revoke", "--yes", "pc3", "--reason", "stolen")
    assert report["acknowledged"] == ["lab1"]
    assert report["waiting"] == ["pc2"]
    assert report["held_authorities"]
    for seen_by in ("pc1", "lab1"):
        await nodes.wait_state(seen_by, "pc3", ["revoked"], WITHIN_S)
    print(f"revoked everywhere {time.monotonic() - began:.2f} s after the command was begun")
    assert (await cluster_status(nodes, "pc3"))["pc1"] is None
    assert (await cluster_status(nodes, "pc1"))["pc3"] is None


async def test_the_revoked_node_is_told_and_serves_its_own_people(nodes):
    async def told() -> bool:
        status = await nodes.clients["pc3"].get("/api/status")
        return any("pc3 was revoked on" in problem and "stolen" in problem for problem in status["problems"])

    await until(told, WITHIN_S, "pc3 knows that it is revoked")
    assert "pc3 was revoked on" in nodes["pc3"].log.read_text(encoding="utf-8")
    members = await nodes.clients["pc3"].members()
    assert members["pc3"]["state"] == "alive"
    assert {members[name]["state"] for name in ("pc1", "lab1")} == {"dead"}
    for command in (("revoke", "--yes", "pc1"), ("rotate", "--yes")):
        with pytest.raises(DaemonError, match="this node was revoked"):
            await nodes["pc3"].command(*command)
    with pytest.raises(DaemonError, match="this node was revoked"):
        await nodes["pc3"].command("invite")


async def test_a_node_that_was_off_learns_of_it_when_it_returns(nodes):
    await nodes["pc2"].start()
    await nodes.wait_state("pc2", "pc3", ["revoked"], WITHIN_S + 5)
    assert (await cluster_status(nodes, "pc2"))["pc3"] is None


async def test_it_stays_revoked_over_restarts_of_everybody(nodes):
    for name in ("pc1", "pc2", "pc3", "lab1"):
        await nodes[name].stop()
    for name in ("pc1", "pc2", "pc3", "lab1"):
        await nodes[name].start()
    for seen_by in ("pc1", "pc2", "lab1"):
        await nodes.wait_state(seen_by, "pc3", ["revoked"])
    await nodes.wait_state("pc1", "pc2", ["alive"])
    await nodes.wait_state("pc1", "lab1", ["alive"])
    assert (await cluster_status(nodes, "pc3"))["pc1"] is None
    assert (await cluster_status(nodes, "pc1"))["pc3"] is None


async def test_a_revoked_node_that_forgot_it_is_told_again(nodes):
    await nodes["pc3"].stop()
    for file in ("revoked.json", "revoked.copy.json"):
        (identity_of(nodes, "pc3") / file).unlink()
    await nodes["pc3"].start()

    async def told() -> bool:
        status = await nodes.clients["pc3"].get("/api/status")
        return any("was revoked on" in problem for problem in status["problems"])

    await until(told, 60, "pc3 is told again, by whom it greets")


async def test_revoking_twice_is_said_again_and_harms_nothing(nodes):
    report = await reported(nodes, "pc2", "revoke", "--yes", "pc3")
    assert report["already"]
    assert set(report["acknowledged"]) == {"pc1", "lab1"}


# --- replacing the authorities --------------------------------------------------------------------------------------


async def test_only_where_the_root_key_is_can_a_change_begin(nodes):
    with pytest.raises(DaemonError, match=r"root key .* is not on this PC: it is on pc1, run `tarsd rotate` there"):
        await nodes["pc2"].command("rotate", "--yes")


async def test_authorities_are_replaced_without_a_dropped_call(nodes):
    failed: list[str] = []
    answered = 0
    over = asyncio.Event()

    async def ask_on(asked: str, about: str) -> None:
        nonlocal answered
        while not over.is_set():
            try:
                status = (await cluster_status(nodes, asked))[about]
            except (ApiError, OSError) as error:
                failed.append(f"{asked}: {error}")
                continue
            if status is None:
                failed.append(f"{asked} had no answer of {about}")
            answered += 1

    asking = [asyncio.create_task(ask_on("pc1", "pc2")), asyncio.create_task(ask_on("pc2", "pc1"))]
    try:
        report = await reported(nodes, "pc1", "rotate", "--yes")
    finally:
        over.set()
        await asyncio.gather(*asking)
    print(f"{answered} calls answered while the authorities were replaced, {len(failed)} failed")
    assert failed == []
    assert answered > 4
    assert report["phase"] == "done"
    assert {phase: set(names) for phase, names in report["acknowledged"].items()} == {
        "install": {"pc1", "pc2"},
        "use": {"pc1", "pc2", "lab1"},
        "remove": {"pc1", "pc2", "lab1"},
    }
    for name in ("pc1", "pc2", "lab1"):
        node = json.loads((identity_of(nodes, name) / "node.json").read_bytes())
        assert node["issuer"] == report["generation"] == 2
    assert not list(identity_of(nodes, "lab1").glob("core*"))
    assert (await cluster_status(nodes, "pc1"))["pc2"] is not None
    await nodes.wait_state("pc1", "lab1", ["alive"])


async def test_a_node_that_was_off_during_a_change_gets_what_it_missed(nodes):
    await nodes["pc2"].stop()
    report = await reported(nodes, "pc1", "rotate", "--yes")
    assert report["generation"] == 3
    assert "pc2" in report["off"]
    await nodes["pc2"].start()

    def caught_up() -> bool:
        folder = identity_of(nodes, "pc2")
        return json.loads((folder / "node.json").read_bytes())["issuer"] == 3 and (folder / "core.3.key").exists()

    await until(caught_up, 60, "pc2 fetched the authorities and has a certificate of theirs")
    await nodes.wait_state("pc1", "pc2", ["alive"])
    assert (await cluster_status(nodes, "pc2"))["pc1"] is not None
    token = (await nodes["pc2"].command("invite")).split()[0]  # and it can invite in turn
    assert token.startswith("tars1.")
