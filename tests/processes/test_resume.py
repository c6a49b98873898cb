"""Three real nodes, the model on one: the node that a person asked is killed or frozen, and the answer goes on."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, async_playwright, expect

from bench.client import Answer, Client
from bench.cluster import Cluster, Plan, cluster
from bench.daemon import environment_of_a_child
from tests.api.test_api_page import CHROMIUM, FLAGS
from tests.processes.real_nodes import ONE_THREAD, tracebacks, until, wait_routable

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

STORY = "Tell me a long story about a lighthouse keeper."
ENOUGH = 60  # characters to be shown before the node is lost
SEAM = 12  # so many characters at the join are no coincidence


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    plans = [Plan("pc1"), Plan("pc2", ("cognitive",), settings=ONE_THREAD), Plan("pc3")]
    async with cluster(plans) as running:
        for name in ("pc1", "pc3"):
            await running.wait_capability(name, "chat", of="pc2")
        yield running


async def peers_told(client: Client) -> list[str]:
    async with client.session.ws_connect(client.url + "/ws") as socket:
        found: list[str] = json.loads(await socket.receive_str())["peers"]
    return found


async def asked_until(nodes: Cluster, characters: int) -> tuple[asyncio.Task[Answer], list[dict[str, Any]]]:
    """Ask pc1 as a person does; return once so much text is shown."""
    await until(lambda: _has_peers(nodes, 2), 60, "pc1 tells its clients of both others")
    heard: list[dict[str, Any]] = []
    asking = asyncio.create_task(nodes.clients["pc1"].ask_surviving(STORY, heard=heard.append))
    await until(lambda: asking.done() or len(text_of(heard)) >= characters, 60, "the answer began")
    assert not asking.done(), asking
    return asking, heard


async def _has_peers(nodes: Cluster, count: int) -> bool:
    return len(await peers_told(nodes.clients["pc1"])) == count


def text_of(heard: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in heard if event["type"] == "token")


def came_again(before: str, rest: str) -> str:
    """Return the end of `before` that `rest` begins with; further on, this small model does repeat itself."""
    seams = (before[-length:] for length in range(SEAM, len(before) + 1))
    return next((seam for seam in seams if rest.lstrip().startswith(seam.lstrip())), "")


def check(answer: Answer, shown_before: str) -> None:
    """One whole answer, which another node than pc1 hosted to its end, and which said so once."""
    assert answer.finished, answer.end
    (moved,) = answer.of_type("moved")
    assert moved["lost"] == "pc1"
    assert moved["node"] in ("pc2", "pc3")
    assert len({event["answer"] for event in answer.of_type("answer")}) == 1
    assert answer.text.startswith(shown_before)
    rest = answer.text[len(shown_before) :]
    assert len(rest) > 20
    assert not came_again(shown_before, rest)
    assert answer.end["generated_by"] == "pc2"


async def test_a_killed_host_costs_the_reader_nothing_but_a_moment(nodes):
    asking, heard = await asked_until(nodes, ENOUGH)
    await nodes["pc1"].kill()
    shown = text_of(heard)
    answer = await asking
    check(answer, shown)
    print(f"killed host: longest gap {answer.longest_gap_s:.2f} s")
    await nodes["pc1"].start()
    await wait_routable(nodes, "pc3", "pc1")


async def test_a_frozen_host_is_left_after_two_seconds(nodes):
    asking, heard = await asked_until(nodes, ENOUGH)
    nodes["pc1"].freeze()
    try:
        shown = text_of(heard)
        answer = await asking
    finally:
        nodes["pc1"].thaw()
    check(answer, shown)
    print(f"frozen host: longest gap {answer.longest_gap_s:.2f} s")


async def test_the_command_prints_one_text_although_its_node_is_killed(nodes):
    await until(lambda: _has_peers(nodes, 2), 60, "pc1 tells its clients of both others")
    command = [sys.executable, "-m", "tarsd", "--config", str(nodes["pc1"].config), "ask", STORY]
    running = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment_of_a_child())
    assert running.stdout
    shown = await asyncio.wait_for(running.stdout.readexactly(ENOUGH), 60)
    await nodes["pc1"].kill()
    out, said = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode == 0, said
    assert re.search(rb"^pc1 does not answer; pc[23] goes on\.$", said, re.MULTILINE), said
    assert not came_again(shown.decode(errors="ignore"), out.decode(errors="ignore"))
    assert len(out) > 20
    await nodes["pc1"].start()
    await wait_routable(nodes, "pc3", "pc1")


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"Chromium is not at {CHROMIUM}")
@pytest.mark.parametrize("hurt", ["kill", "freeze"])
async def test_the_page_completes_its_bubble_by_another_node(nodes, hurt):
    await until(lambda: _has_peers(nodes, 2), 60, "pc1 tells its clients of both others")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await (await browser.new_context(locale="en-GB")).new_page()
        await page.goto(nodes["pc1"].url)
        await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
        await page.fill("#question", STORY)
        await page.keyboard.press("Enter")
        bubble = page.locator(".answer .body")
        await until(lambda: _long_enough(bubble), 60, "the answer began")
        if hurt == "kill":
            await nodes["pc1"].kill()
        else:
            nodes["pc1"].freeze()
        shown = await bubble.text_content() or ""
        await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false", timeout=60_000)
        whole = await bubble.text_content() or ""
        moved = page.locator(".answer .notice.info", has_text="pc1 does not answer")
        await expect(moved).to_have_text(re.compile("pc1 does not answer; pc[23] goes on"))
        await expect(page.locator(".made")).to_contain_text("answered by pc2")
        await browser.close()
    assert whole.startswith(shown[:ENOUGH])
    assert len(whole) > len(shown) + 20
    assert not came_again(shown, whole[len(shown) :])
    if hurt == "kill":
        await nodes["pc1"].start()
    else:
        nodes["pc1"].thaw()
    await wait_routable(nodes, "pc3", "pc1")


async def _long_enough(bubble: Locator) -> bool:
    return len(await bubble.text_content() or "") >= ENOUGH


async def test_nothing_unforeseen_was_logged(nodes):
    assert tracebacks(nodes) == {}
