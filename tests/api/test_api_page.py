"""The chat page: its files, and what a person sees of it in headless Chromium (host and dispatch are scripted)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, async_playwright, expect

from tarsd.errors import DocumentError
from tarsd.host import events
from tests.api import scripted_services as scripted
from tests.api.scripted_services import DONE, ROUTE, SOURCES, ScriptedHost, answer

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
expect.set_options(timeout=30_000)  # how long a browser on a busy machine may take; what is seen sooner costs nothing
PAGE = Path(__file__).parents[2] / "tarsd" / "api" / "page"

browser_test = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"Chromium is not at {CHROMIUM}"),
]


async def test_the_page_is_served_whole_and_sent_again_only_when_it_changed(serve):
    served = await serve()
    async with aiohttp.ClientSession() as client:
        async with client.get(served.url + "/") as response:
            page = await response.text()
            assert response.content_type == "text/html"
            tag = response.headers["ETag"]
        for name in re.findall(r'(?:src|href)="(/page/[^"]+)"', page):
            async with client.get(served.url + name) as response:
                assert response.status == 200
        async with client.get(served.url + "/", headers={"If-None-Match": tag}) as response:
            assert response.status == 304
        async with client.get(served.url + "/page/..%2fserver.py") as response:
            assert response.status == 404


@pytest.mark.parametrize("file", sorted(path.name for path in PAGE.glob("*.js")))
def test_no_script_makes_markup_of_text_or_runs_it(file):
    script = (PAGE / file).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)


def test_the_page_asks_nobody_else_for_anything():
    for path in PAGE.iterdir():
        found = re.findall(r"https?://[^\s\"')]+", path.read_text())
        assert set(found) <= {"http://www.w3.org/2000/svg"}, path.name


def test_both_languages_say_the_same_things():
    words = (PAGE / "words.js").read_text()
    english, spanish = re.findall(r"const (?:ENGLISH|SPANISH) = \{\n(.*?)\n\};", words, re.DOTALL)
    keys = [re.findall(r"^  (\w+):", table, re.MULTILINE) for table in (english, spanish)]
    assert keys[0] == keys[1]
    wanted = re.findall(r'data-words(?:-label)?="(\w+)"', (PAGE / "index.html").read_text())
    assert set(wanted) <= set(keys[0])


def test_both_languages_of_the_view_of_memory_say_the_same_things():
    words = (PAGE / "memory_words.js").read_text()
    english, spanish = re.findall(r"const (?:ENGLISH|SPANISH) = \{\n(.*?)\n\};", words, re.DOTALL)
    keys = [re.findall(r"(\w+):", re.sub(r'"[^"]*"|`[^`]*`', "", table)) for table in (english, spanish)]
    assert keys[0] == keys[1]


@pytest.fixture
async def browse() -> AsyncIterator[Any]:
    """A function that opens a URL in a new browser context; a script error on the page fails the test."""
    wrong: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        async def open_page(url: str, **options: Any) -> Page:
            context = await browser.new_context(**({"locale": "en-GB"} | options))
            page = await context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda line: wrong.append(line.text) if "Content Security" in line.text else None)
            await page.goto(url)
            await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
            return page

        yield open_page
        await browser.close()
    assert wrong == []


async def ask(page: Page, text: str) -> None:
    await page.fill("#question", text)
    await page.keyboard.press("Enter")


async def answered(page: Page) -> None:
    """Wait until the last answer has ended: its text is seen before that, and until then Enter asks nothing."""
    await expect(page.locator(".answer").last).to_have_attribute("aria-busy", "false")


class TestInABrowser:
    """Journeys of a person."""

    pytestmark = browser_test

    async def test_an_answer_streams_with_its_sources_and_who_made_it(self, serve, browse):
        served = await serve()
        page = await browse(served.url)
        await ask(page, "Which pressure?")
        shown = page.locator(".answer")
        await expect(shown).to_have_attribute("aria-busy", "false")
        await expect(shown.locator(".body")).to_have_text("Between 1.2 and 1.8 bar 1.")
        await expect(shown.locator(".made")).to_contain_text("answered by pc1 · tiny-model · prepared by pc2")
        card = shown.locator(".source").first
        await expect(card).to_contain_text("boiler-manual.pdf")
        await expect(card).to_contain_text("page 3")
        await expect(card.locator("blockquote")).to_be_hidden()
        await page.click(".cite")
        await expect(card.locator("blockquote")).to_contain_text("Keep the pressure")
        await expect(page.locator("#announcer")).to_contain_text("Between 1.2 and 1.8 bar")

    async def test_what_a_model_or_document_says_is_text_and_never_markup(self, serve, browse):
        evil = '<img src=x onerror="document.title=1"><script>document.title=2</script> [x](javascript:alert(1))'
        source = events.Source(1, evil, 1, 0, 9, evil, "d")
        script = [
            ROUTE,
            events.SourcesEvent([source]),
            events.NoticeEvent("degraded", evil),
            events.TokenEvent(evil),
            DONE,
        ]
        page = await browse((await serve(ScriptedHost(script))).url)
        await ask(page, evil)
        await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
        assert await page.locator(".log :is(img, script, a)").count() == 0
        assert await page.title() == "TARS"
        await expect(page.locator(".body")).to_contain_text("<script>")

    async def test_notices_of_queue_handover_and_degradation_are_shown(self, serve, browse):
        waiting = [ROUTE, events.NoticeEvent("waiting", "Waiting: 2 before this one.", 2)]
        rest = [events.TokenEvent("a"), events.NoticeEvent("handover", "pc3 goes on with the answer."), DONE]
        host = ScriptedHost([*waiting, *rest], hang_after=2)
        page = await browse((await serve(host)).url)
        await ask(page, "q")
        await expect(page.locator(".waiting")).to_contain_text("2 before this one")
        await page.keyboard.press("Escape")
        host.hang_after = None
        await ask(page, "q")
        await expect(page.locator(".notice.info")).to_have_text("pc3 goes on with the answer.")
        await answered(page)
        done = events.DoneEvent("passages", "pc1", "pc1", "", "", ["no model"], DONE.usage, 0.1, 0.1)
        host.script = [ROUTE, SOURCES, events.TokenEvent("These passages"), done]
        await ask(page, "q")
        await expect(page.locator(".answer").last.locator(".notice.warn")).to_have_count(2)

    async def test_an_answer_that_a_limit_cut_says_which(self, serve, browse):
        done = events.DoneEvent("length", "pc1", "pc1", "e", "m", [], DONE.usage, 0.1, 0.2, "context")
        page = await browse((await serve(ScriptedHost([ROUTE, events.TokenEvent("a"), done]))).url)
        await ask(page, "q")
        await expect(page.locator(".notice.info")).to_contain_text("can hold no more text")

    async def test_what_is_asked_while_an_answer_is_being_stopped_is_asked_when_it_has(self, serve, browse):
        host = ScriptedHost(answer("half"), hang_after=3, let_go=asyncio.Event())
        page = await browse((await serve(host)).url)
        await ask(page, "first")
        await expect(page.locator(".body")).to_have_text("half")
        await page.keyboard.press("Escape")
        await asyncio.wait_for(host.left.wait(), 30)
        await ask(page, "second")
        await expect(page.locator("#question")).to_have_value("second")
        host.hang_after = None
        host.let_go.set()
        await expect(page.locator(".answer")).to_have_count(2)
        await expect(page.locator(".answer").last.locator(".body")).to_have_text("half")
        await expect(page.locator("#question")).to_have_value("")
        assert [question.text for question in host.asked] == ["first", "second"]

    async def test_the_stop_button_stops(self, serve, browse):
        host = ScriptedHost(answer("half"), hang_after=3)
        page = await browse((await serve(host)).url)
        await ask(page, "q")
        await expect(page.locator(".body")).to_have_text("half")
        await page.click("#send[aria-label='Stop the answer']")
        await expect(page.locator(".made")).to_have_text("Stopped")
        assert host.left.is_set()

    async def test_a_new_chat_is_another_conversation_and_hears_nothing_of_the_old_one(self, serve, browse):
        host = ScriptedHost(answer("old"), hang_after=3)
        page = await browse((await serve(host)).url)
        await ask(page, "one")
        await expect(page.locator(".body")).to_have_text("old")
        await page.click("#new-chat")
        host.hang_after, host.script = None, answer("new")
        await ask(page, "two")
        await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
        await expect(page.locator(".body")).to_have_text("new")
        assert host.asked[0].conversation != host.asked[1].conversation
        assert host.asked[1].turns == ()

    async def test_an_error_can_be_asked_again(self, serve, browse):
        host = ScriptedHost([ROUTE, events.ErrorEvent("Overloaded", "the queue is full", 7.0)])
        page = await browse((await serve(host)).url)
        await ask(page, "q")
        await expect(page.locator(".notice.bad")).to_have_text("That did not work: the queue is full Try again in 7 s.")
        host.script = answer("now")
        await page.get_by_role("button", name="Ask again").click()
        await expect(page.locator(".answer").last.locator(".body")).to_have_text("now")

    async def test_an_answer_goes_on_when_its_node_comes_back(self, serve, browse):
        host = ScriptedHost(answer("half of ", "it"), hang_after=3)
        served = await serve(host)
        page = await browse(served.url)
        await ask(page, "q")
        await expect(page.locator(".body")).to_have_text("half of")
        await served.server.stop(0.0)
        await expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
        await expect(page.locator(".waiting")).to_contain_text("Looking for a computer")
        again = ScriptedHost(answer("it"))
        await serve(again, settings=scripted.settings(port=served.port))
        await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
        await expect(page.locator(".body")).to_have_text("half of it")
        assert again.asked[0].shown == "half of "
        assert again.asked[0].answer == host.asked[0].answer
        assert await page.locator(".notice").count() == 0

    async def test_it_speaks_the_browsers_language_and_can_be_switched(self, serve, browse):
        served = await serve()
        page = await browse(served.url, locale="es-ES")
        await expect(page.locator("h2").first).to_have_text("¿Qué quieres saber?")
        assert await page.get_attribute("html", "lang") == "es"
        await ask(page, "¿Qué presión?")
        await expect(page.locator(".made")).to_contain_text("respondido por pc1")
        assert served.host.asked[0].language == "es"
        await page.click("[data-language=en]")
        await expect(page.locator("#new-chat")).to_have_text("New chat")
        await page.reload()
        await expect(page.locator("#new-chat")).to_have_text("New chat")

    async def test_a_document_is_taken_in_with_its_progress_and_a_wrong_one_says_why(self, serve, browse):
        served = await serve(replies={"ingest": scripted.INGEST})
        page = await browse(served.url)
        await page.set_input_files("#files", [{"name": "a.md", "mimeType": "text/markdown", "buffer": b"# Boiler"}])
        await expect(page.locator(".upload.good")).to_contain_text("ready, 5 passages")
        (sent,) = [call for call in served.dispatch.made if call.upload]
        assert sent.received == b"# Boiler"
        served.dispatch.replies["ingest"] = [DocumentError("b.pdf: encrypted")]
        await page.set_input_files("#files", [{"name": "b.pdf", "mimeType": "application/pdf", "buffer": b"x"}])
        await expect(page.locator(".upload.bad")).to_contain_text("b.pdf: encrypted")

    async def test_documents_that_are_too_many_at_once_are_not_dropped_without_a_word(self, serve, browse):
        page = await browse((await serve(replies={"ingest": scripted.INGEST})).url)
        many = [{"name": f"{n}.md", "mimeType": "text/markdown", "buffer": b"# Boiler"} for n in range(203)]
        await page.set_input_files("#files", many)
        await expect(page.locator(".upload.bad")).to_contain_text("3 documents were left out")

    async def test_documents_on_their_way_hide_neither_the_newest_text_nor_are_hidden(self, serve, browse):
        long = ScriptedHost([ROUTE, events.TokenEvent("one line\n\n" * 60), DONE])
        served = await serve(long, replies={"ingest": [DocumentError("b.pdf: encrypted")]})
        page = await browse(served.url, viewport={"width": 390, "height": 700})
        await ask(page, "Tell me a lot")
        await expect(page.locator(".made")).to_be_in_viewport()
        await page.set_input_files("#files", [{"name": "b.pdf", "mimeType": "application/pdf", "buffer": b"x"}])
        await expect(page.locator(".upload.bad")).to_be_visible()
        await expect(page.locator(".made")).to_be_in_viewport()
        await page.locator(".mine").scroll_into_view_if_needed()
        await expect(page.locator("#latest")).to_be_visible()
        button, row = await page.locator("#latest").bounding_box(), await page.locator(".upload").bounding_box()
        assert button["y"] + button["height"] <= row["y"]

    async def test_the_welcome_is_seen_from_its_top_where_the_page_is_small(self, serve, browse):
        page = await browse((await serve()).url, viewport={"width": 320, "height": 560})
        await page.click("#temporary")
        await expect(page.locator("#temporary-badge")).to_be_visible()
        await page.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
        )
        assert await page.evaluate("document.querySelector('#main').scrollTop") == 0

    async def test_members_are_shown_with_their_state_and_what_they_do(self, serve, browse):
        page = await browse((await serve()).url)
        await expect(page.locator(".chip")).to_have_count(4)
        await expect(page.locator(".chip").first).to_contain_text("this one")
        await expect(page.locator(".chip.suspect")).to_contain_text("not answering")
        await page.click("#members")
        await expect(page.locator("#member-list")).to_contain_text("writes answers")
        await page.keyboard.press("Escape")
        await expect(page.locator("#members-dialog")).to_be_hidden()

    async def test_it_fits_a_phone_and_works_by_keyboard_alone(self, serve, browse):
        page = await browse((await serve()).url, viewport={"width": 360, "height": 640})
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#question")).to_be_focused()
        await page.keyboard.type("Which pressure?")
        await page.keyboard.press("Enter")
        await expect(page.locator(".made")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    async def test_every_control_has_a_name(self, serve, browse):
        page = await browse((await serve()).url)
        for width in (1000, 360):  # on a phone the words beside the pictures are hidden
            await page.set_viewport_size({"width": width, "height": 640})
            await expect(page.locator(".chip")).to_have_count(4)
            nameless = await page.evaluate(
                "[...document.querySelectorAll('button, textarea, input:not([hidden])')]"
                ".filter(n => n.checkVisibility())"
                ".filter(n => !(n.getAttribute('aria-label') || n.innerText.trim() || n.labels?.length)).map(n => n.id)"
            )
            assert nameless == []

    async def test_beyond_loopback_the_page_asks_to_sign_in(self, serve, browse):
        served = await serve(settings=scripted.settings(listen="0.0.0.0"), access_token="for-people")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page()
            await page.goto(served.url)
            await page.fill("#token", "wrong")
            await page.keyboard.press("Enter")
            await expect(page.locator("#sign-in-wrong")).not_to_be_empty()
            await page.fill("#token", "for-people")
            await page.keyboard.press("Enter")
            await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
            await expect(page.locator(".chip")).to_have_count(4)
            await browser.close()
