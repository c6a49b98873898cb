"""Three PCs on a LAN of their own: real multicast, real addresses, cables that are pulled.

The tests share the LAN and stand in the order of what happens there; each leaves it whole for the next.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, form
from bench.lan import Lan, put_on, why_not
from tests.processes.real_nodes import MANUAL, NOTES, counts_of, last_item, tracebacks, until, wait_routable

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

SHORT = """\
[cognitive]
max_tokens = 16
[[cognitive.engines]]
kind = "llama_cpp"
threads = 1
context_tokens = 1280
[processing]
threads = 1
"""
PLANS = (
    Plan("pc1", ("cognitive",), settings=SHORT),
    Plan("pc2", ("processing", "orchestrator"), settings=SHORT),
    Plan("pc3"),
)
PAPER = "Which day is paper and cardboard collected?"


@pytest.fixture(scope="module")
def lan() -> Generator[Lan, None, None]:
    if reason := why_not():
        pytest.skip(reason)
    with Lan(len(PLANS)) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster, None]:
    folder = tmp_path_factory.mktemp("lan")
    async with AsyncExitStack() as stack:
        running = await put_on(lan, PLANS, folder, stack)
        await form(running.daemons)
        running.discovery_s = await running.wait_full()
        await running.wait_capability("pc3", "chat", of="pc1")
        yield running


async def states(nodes: Cluster, seen_by: str) -> dict[str, str]:
    return {name: member["state"] for name, member in (await nodes.clients[seen_by].members()).items()}


async def generations(nodes: Cluster) -> dict[str, int]:
    return {name: member["generation"] for name, member in (await nodes.clients["pc3"].members()).items()}


async def test_three_nodes_find_one_another_by_multicast(nodes):
    for number, daemon in enumerate(nodes.daemons, 1):
        assert "seeds" not in daemon.config.read_text()
        members = await nodes.clients["pc3"].members()
        assert members[daemon.name]["state"] == "alive"
        assert members[daemon.name]["addresses"][0] == f"10.77.0.{number}:{daemon.port}"
    print(f"discovery: {nodes.discovery_s:.2f} s after the last node was ready")


async def test_documents_given_to_one_reach_all(nodes):
    for file in (MANUAL, NOTES):
        assert (await last_item(nodes.clients["pc3"], file))["stage"] == "done"
    wanted = (await counts_of(nodes.clients["pc2"]))["records"]
    for name in ("pc1", "pc3"):

        async def has_all(name: str = name) -> bool:
            return (await counts_of(nodes.clients[name]))["records"] == wanted

        await until(has_all, 60, f"{name} has all records")


async def test_a_question_goes_across_the_lan_by_the_command_line(nodes):
    said = await nodes["pc3"].command("ask", "--json", PAPER, within_s=90)
    events = [json.loads(line) for line in said.splitlines()]
    done = events[-1]
    assert (done["type"], done["prepared_by"], done["generated_by"]) == ("done", "pc2", "pc1")
    (sources,) = [event["sources"] for event in events if event["type"] == "sources"]
    assert sources[0]["file"] == NOTES.name
    assert any(event["type"] == "token" for event in events)


async def test_a_killed_node_is_not_missed(nodes):
    await nodes["pc2"].kill()
    answer = await nodes.clients["pc3"].ask(PAPER)
    assert (answer.end["prepared_by"], answer.end["generated_by"]) == ("pc3", "pc1")
    assert answer.end["degraded"]
    assert answer.of_type("sources")[0]["sources"][0]["file"] == NOTES.name
    for seen_by in ("pc1", "pc3"):
        await nodes.wait_state(seen_by, "pc2", ["dead"])


async def test_it_rejoins_when_it_is_started_again(nodes):
    await nodes["pc2"].start()
    print(f"restarted: routable {await wait_routable(nodes, 'pc3', 'pc2'):.2f} s after READY")
    await nodes.wait_full()
    answer = await nodes.clients["pc3"].ask(PAPER)
    assert (answer.end["prepared_by"], answer.end["generated_by"]) == ("pc2", "pc1")


@pytest.mark.parametrize(("cut", "mend"), [("silence", "hear"), ("unplug", "plug")])
async def test_both_halves_of_a_cut_lan_go_on_and_merge_again(nodes, lan, cut, mend):
    before = await generations(nodes)
    getattr(lan, cut)(2)
    try:
        for seen_by, gone in (("pc1", "pc2"), ("pc3", "pc2"), ("pc2", "pc1"), ("pc2", "pc3")):
            await nodes.wait_state(seen_by, gone, ["dead"])
        assert (await states(nodes, "pc3"))["pc1"] == "alive"
        larger, smaller = await nodes.clients["pc3"].ask(PAPER), await nodes.clients["pc2"].ask(PAPER)
    finally:
        getattr(lan, mend)(2)
    assert (larger.end["prepared_by"], larger.end["generated_by"]) == ("pc3", "pc1")
    assert larger.end["degraded"]
    assert smaller.end["finish_reason"] == "passages"  # no model in that half: the passages are the answer
    assert "Tuesday" in smaller.text
    await nodes.wait_full()
    took_s = [await wait_routable(nodes, seen_by, "pc2") for seen_by in ("pc1", "pc3")]
    print(f"{mend}: all know one another again, routable {max(took_s):.2f} s later")
    assert await generations(nodes) == before  # healed, not restarted
    answer = await nodes.clients["pc3"].ask(PAPER)
    assert (answer.end["prepared_by"], answer.end["generated_by"]) == ("pc2", "pc1")


async def test_nothing_of_this_was_a_surprise_to_any_daemon(nodes):
    assert tracebacks(nodes) == {}
