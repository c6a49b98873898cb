# ruff: noqa: F811 - a fixture is named where it is imported and where it is used
"""What a person sees on the page when the node that answers is lost: the same answer, completed by another node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from tarsd.host import events
from tests.api import scripted_services as scripted
from tests.api.scripted_services import DONE, ROUTE, ScriptedHost, answer
from tests.api.test_api_page import answered, ask, browse, browser_test  # noqa: F401 - the same browser
from tests.api.two_nodes import Pair
from tests.processes.real_nodes import until

pytestmark = browser_test


@pytest.fixture
async def pair(serve) -> AsyncIterator[Pair]:
    return Pair(serve)


async def test_another_node_completes_the_bubble_and_the_page_says_so_once(pair, browse):
    near, far = ScriptedHost(answer("Between 1.2 ", "and"), hang_after=3), ScriptedHost(answer("and 1.8 ", "bar."))
    await pair.start(near, far)
    page = await browse(pair.near.url)
    await ask(page, "Which pressure?")
    await expect(page.locator(".body")).to_have_text("Between 1.2")
    await pair.near.server.stop(0.0)
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    await expect(page.locator(".body")).to_have_text("Between 1.2 and 1.8 bar.")
    await expect(page.locator(".notice.info")).to_have_text("pc1 does not answer; pc3 goes on")
    await expect(page.locator("#connection-text")).to_have_text("pc1 does not answer; pc3 goes on")
    (question,) = far.asked
    assert (question.text, question.shown) == ("Which pressure?", "Between 1.2 ")
    assert question.answer == near.asked[0].answer
    assert question.conversation == near.asked[0].conversation


async def test_the_other_node_lets_the_page_in_by_its_pass(pair, browse):
    near, far = ScriptedHost(answer("half "), hang_after=3), ScriptedHost(answer("and half"))
    await pair.start(near, far, settings=scripted.settings(listen="0.0.0.0"), access_token="of-the-far-one")
    page = await browse(pair.near.url)
    await ask(page, "q")
    await expect(page.locator(".body")).to_have_text("half")
    await pair.near.server.stop(0.0)
    await expect(page.locator(".body")).to_have_text("half and half")


async def test_in_spanish_too(pair, browse):
    await pair.start(ScriptedHost(answer("Entre "), hang_after=3), ScriptedHost(answer("1,2 y 1,8")))
    page = await browse(pair.near.url, locale="es-ES")
    await ask(page, "¿Qué presión?")
    await expect(page.locator(".body")).to_have_text("Entre")
    await pair.near.server.stop(0.0)
    await expect(page.locator(".body")).to_have_text("Entre 1,2 y 1,8")
    await expect(page.locator(".notice.info")).to_have_text("pc1 no responde; sigue pc3")


async def test_a_node_that_falls_silent_is_left_although_its_connection_stays(pair, browse, monkeypatch):
    monkeypatch.setattr("tarsd.api.ws.BEAT_S", 3600.0)  # a frozen node beats no more
    await pair.start(ScriptedHost(answer("half ", "x"), hang_after=3), ScriptedHost(answer("and half")))
    page = await browse(pair.near.url)
    await ask(page, "q")
    await expect(page.locator(".body")).to_have_text("half and half")
    await asyncio.wait_for(pair.near.host.left.wait(), 30)  # nobody generates for nobody


async def test_a_node_that_only_beats_is_not_left(pair, browse):
    near = ScriptedHost(answer("slow"), hang_after=2)
    await pair.start(near, ScriptedHost())
    page = await browse(pair.near.url)
    await ask(page, "q")
    beats = asyncio.Event()
    page.on("websocket", lambda _: beats.set())  # a new connection would be the mistake
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(beats.wait(), 3.0)
    assert pair.far.host.asked == []


async def test_an_idle_chat_moves_with_what_was_said_and_goes_home_again(pair, browse):
    near, far = ScriptedHost(answer("one")), ScriptedHost(answer("two"))
    await pair.start(near, far)
    page = await browse(pair.near.url)
    await ask(page, "first")
    await expect(page.locator(".body")).to_have_text("one")
    await answered(page)
    await pair.near.server.stop(0.0)
    await expect(page.locator("#connection-text")).to_have_text("pc1 does not answer; pc3 goes on")
    await ask(page, "second")
    await expect(page.locator(".body").last).to_have_text("two")
    await answered(page)
    assert [(turn.question, turn.answer) for turn in far.asked[0].turns] == [("first", "one")]
    again = ScriptedHost(answer("three"))
    await pair.serve("pc1", again, port=pair.near.port)
    await expect(page.locator("#connection-text")).to_have_text("on pc1")
    await ask(page, "third")
    await expect(page.locator(".body").last).to_have_text("three")
    assert [turn.question for turn in again.asked[0].turns] == ["first", "second"]


async def test_the_silence_of_the_pages_own_node_does_not_drive_it_from_the_other_one(pair, browse):
    await pair.start(ScriptedHost(), ScriptedHost())
    page = await browse(pair.near.url)
    await expect(page.locator(".chip")).to_have_count(2)
    await pair.near.server.stop(0.0)
    await expect(page.locator("#connection-text")).to_have_text("pc1 does not answer; pc3 goes on")
    opened: list[str] = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    await expect(page.locator("#members.old .chip.suspect")).to_contain_text("pc1")
    assert opened == []


async def test_sources_that_the_shown_text_cites_stay(pair, browse):
    other = events.SourcesEvent([events.Source(1, "other.pdf", 1, 0, 5, "Other", "d9")])
    rest = [ROUTE, other, events.TokenEvent("bar [1]."), DONE]
    await pair.start(ScriptedHost(answer("1.8 "), hang_after=3), ScriptedHost(rest))
    page = await browse(pair.near.url)
    await ask(page, "q")
    await expect(page.locator(".body")).to_have_text("1.8")
    await pair.near.server.stop(0.0)
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    await expect(page.locator(".source").first).to_contain_text("boiler-manual.pdf")


async def test_a_node_that_is_just_coming_up_is_tried_again(pair, browse):
    far = ScriptedHost([ROUTE, events.ErrorEvent("Unavailable", "no node offers chat right now")])
    await pair.start(ScriptedHost(answer("half "), hang_after=3), far)
    page = await browse(pair.near.url)
    await ask(page, "q")
    await expect(page.locator(".body")).to_have_text("half")
    await pair.near.server.stop(0.0)
    await until(lambda: far.asked, 30, "the other node is asked")
    far.script = answer("and half")
    await expect(page.locator(".body")).to_have_text("half and half")
    await expect(page.locator(".notice.bad")).to_have_count(0)


async def test_nobody_left_cuts_the_answer_and_says_so(pair, browse):
    await pair.start(ScriptedHost(answer("half"), hang_after=3), ScriptedHost())
    page = await browse(pair.near.url)
    await page.evaluate("clock = performance.now.bind(performance); ahead = 0; performance.now = () => clock() + ahead")
    await ask(page, "q")
    await expect(page.locator(".body")).to_have_text("half")
    await pair.far.server.stop(0.0)
    await pair.near.server.stop(0.0)
    await expect(page.locator(".waiting")).to_contain_text("Looking for a computer")
    await page.evaluate("ahead = 60000")
    await expect(page.locator(".notice.warn")).to_contain_text("cut off")
    await expect(page.get_by_role("button", name="Ask again")).to_be_visible()


async def test_stop_ends_an_answer_that_has_no_node(pair, browse):
    await pair.start(ScriptedHost(answer("half"), hang_after=3), ScriptedHost())
    page = await browse(pair.near.url)
    await ask(page, "q")
    await expect(page.locator(".body")).to_have_text("half")
    await pair.far.server.stop(0.0)
    await pair.near.server.stop(0.0)
    await expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    await page.click("#send[aria-label='Stop the answer']")
    await expect(page.locator(".made")).to_have_text("Stopped")
