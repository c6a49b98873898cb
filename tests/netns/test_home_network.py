"""Real nodes in homes that are harder than one cable each: what is tried, what is noticed, and what heals.

Each class has a LAN of its own; its tests stand in the order of what happens there and leave it whole for the next.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import pytest_asyncio
from home_lan import HomeLan, home, watched

from bench.cluster import Cluster, Plan
from bench.lan import why_not
from tests.processes.real_nodes import tracebacks

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="class")]

HEALED_S = 45.0  # a bound for a busy test machine; `print` shows what it took
Stage = tuple[HomeLan, Cluster]


async def stage(folder: Any, size: int, **kind: Any) -> AsyncGenerator[Stage, None]:
    if reason := why_not():
        pytest.skip(reason)
    plans = [Plan(f"pc{number}") for number in range(1, size + 1)]
    with HomeLan(size, **kind) as lan:
        async with home(lan, plans, folder) as nodes:
            yield lan, nodes


async def until(nodes: Cluster, seen_by: str, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Return what `seen_by` told its watchers until its members (by name) were as wanted; prints how long it took."""

    def fits(line: dict[str, Any]) -> bool:
        return wanted({member["name"]: member for member in line["members"]})

    async with asyncio.timeout(HEALED_S):
        lines = await watched(nodes.clients[seen_by], fits)
    print(f"{seen_by}: after {lines[-1]['at'] - lines[0]['at']:.2f} s")
    return lines


def new_happenings(lines: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    known = {one["number"] for one in lines[0]["happenings"]}
    return [(one["name"], one["state"], one["reason"]) for one in lines[-1]["happenings"] if one["number"] not in known]


async def all_answer(nodes: Cluster, asked: str) -> None:
    """Wait until `asked` gets an answer to a call from each node."""
    silent: dict[str, str] = {"?": "not asked yet"}
    began = time.monotonic()
    while silent:
        told = await nodes.clients[asked].get("/api/status?cluster=1", within_s=60)
        silent = {entry["name"]: entry["error"] for entry in told["nodes"] if not entry["status"]}
        assert not silent or time.monotonic() - began < HEALED_S, silent
    print(f"{asked}: all answer after {time.monotonic() - began:.2f} s")


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage, None]:
    async for made in stage(tmp_path_factory.mktemp("two"), 3, cables=2, docker=True):
        yield made


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def three(family: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage, None]:
    async for made in stage(tmp_path_factory.mktemp("change"), 3, families=(family,)):
        yield made


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage, None]:
    async for made in stage(tmp_path_factory.mktemp("local"), 2, families=(6,), routed=False):
        yield made


class TestTwoCables:
    """Each PC has two cables, to two networks, and a bridge of Docker's with the same address as everybody's."""

    async def test_both_addresses_are_told_and_the_containers_is_not(self, two):
        _, nodes = two

        def has_both(members: dict[str, Any]) -> bool:
            return all(len(members[name]["addresses"]) == 2 for name in ("pc2", "pc3"))

        lines = await until(nodes, "pc1", has_both)
        assert "172.17" not in json.dumps(lines)

    @pytest.mark.parametrize(("fail", "mend"), [("silence_cable", "hear_cable"), ("pull", "put")])
    async def test_where_one_cable_fails_the_other_takes_over_and_nobody_is_suspected(self, two, fail, mend):
        lan, nodes = two
        in_use = (await nodes.clients["pc1"].members())["pc2"]["addresses"][0]
        cable = 0 if in_use.startswith("10.77.") else 1
        other = f"10.{78 - cable}.0.2:"
        began = asyncio.create_task(until(nodes, "pc1", lambda m: m["pc2"]["addresses"][0].startswith(other)))
        getattr(lan, fail)(2, cable)
        try:
            lines = await began
            assert new_happenings(lines) == []
            await all_answer(nodes, "pc1")
            await all_answer(nodes, "pc2")
        finally:
            getattr(lan, mend)(2, cable)

    async def test_nothing_of_this_was_a_surprise_to_any_daemon(self, two):
        assert tracebacks(two[1]) == {}


@pytest.mark.parametrize("family", [4, 6], scope="class")
class TestAddressesThatChange:
    """Three PCs with addresses of one family only; 6: not a single IPv4 address but loopback."""

    @staticmethod
    def host(family: int, number: int) -> str:
        return f"10.77.0.{number}" if family == 4 else f"fd77::{number}"

    @staticmethod
    def shown(family: int, number: int) -> str:
        return f"10.77.0.{number}:" if family == 4 else f"[fd77::{number}]:"

    def give(self, lan: HomeLan, family: int, pc: int, old: int, new: int) -> None:
        """Take one address from a PC and give it another one, as DHCP does."""
        bits, options = ("24", ()) if family == 4 else ("64", ("nodad",))
        lan.ip(pc, "addr", "del", f"{self.host(family, old)}/{bits}", "dev", "eth0")
        lan.ip(pc, "addr", "add", f"{self.host(family, new)}/{bits}", "dev", "eth0", *options)

    async def test_they_found_one_another_and_answer_calls(self, three, family):
        _, nodes = three
        members = await nodes.clients["pc3"].members()
        for number in (1, 2):
            assert members[f"pc{number}"]["addresses"][0].startswith(self.shown(family, number))
        await all_answer(nodes, "pc3")

    async def test_a_peer_with_a_new_address_is_found_there(self, three, family):
        lan, nodes = three
        self.give(lan, family, 2, 2, 12)
        for seen_by in ("pc1", "pc3"):
            await until(nodes, seen_by, lambda m: m["pc2"]["addresses"][0].startswith(self.shown(family, 12)))
        await all_answer(nodes, "pc1")

    async def test_everybody_with_a_new_address_at_once_is_found_by_multicast(self, three, family):
        lan, nodes = three
        for pc, old in ((1, 1), (2, 12), (3, 3)):
            self.give(lan, family, pc, old, 20 + pc)

        def found(members: dict[str, Any]) -> bool:
            return all(
                members[name]["state"] == "alive"
                and members[name]["addresses"][0].startswith(self.shown(family, 20 + int(name[2])))
                for name in ("pc2", "pc3")
            )

        await until(nodes, "pc1", found)
        await nodes.wait_full()
        await all_answer(nodes, "pc1")

    async def test_two_that_got_each_others_address_are_not_taken_for_one_another(self, three, family):
        lan, nodes = three
        before = {name: member["node"] for name, member in (await nodes.clients["pc1"].members()).items()}
        self.give(lan, family, 2, 22, 29)
        self.give(lan, family, 3, 23, 22)
        self.give(lan, family, 2, 29, 23)
        for pc in (1, 2, 3):  # whose card has which address: the kernel takes up to 15 s to doubt what it knows
            lan.ip(pc, "neigh", "flush", "dev", "eth0")

        def swapped(members: dict[str, Any]) -> bool:
            return (
                members["pc2"]["state"] == members["pc3"]["state"] == "alive"
                and members["pc2"]["addresses"][0].startswith(self.shown(family, 23))
                and members["pc3"]["addresses"][0].startswith(self.shown(family, 22))
            )

        lines = await until(nodes, "pc1", swapped)
        await nodes.wait_full()
        assert {member["name"]: member["node"] for member in lines[-1]["members"]} == before
        await all_answer(nodes, "pc1")

    async def test_nothing_of_this_was_a_surprise_to_any_daemon(self, three, family):
        assert tracebacks(three[1]) == {}


class TestLinkLocalOnly:
    """A cable between two PCs and nobody who gives out addresses: IPv6 link-local addresses alone."""

    async def test_they_find_one_another_and_answer_calls(self, pair):
        _, nodes = pair
        members = await nodes.clients["pc1"].members()
        assert members["pc2"]["addresses"][0].startswith("[fe80::")
        assert "%eth0]" in members["pc2"]["addresses"][0]
        for asked in ("pc1", "pc2"):
            await all_answer(nodes, asked)

    async def test_a_cable_out_and_in_again_heals(self, pair):
        lan, nodes = pair
        lan.pull(2, 0)
        await nodes.wait_state("pc1", "pc2", ["dead"])
        lan.put(2, 0)
        await until(nodes, "pc1", lambda m: m["pc2"]["state"] == "alive")
        await nodes.wait_full()
        assert tracebacks(nodes) == {}
