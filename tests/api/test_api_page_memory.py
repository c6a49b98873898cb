"""The view of memory, the temporary chat and the chooser of a project, in headless Chromium; the calls are scripted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from playwright.async_api import Page, expect

from tarsd import calls
from tarsd.calls import Copies, Evidence, Memory, Removed, Who
from tarsd.errors import Unavailable
from tarsd.host import events
from tests.api.scripted_services import DONE, ROUTE, ScriptedHost
from tests.api.test_api_page import ask, browse, browser_test  # noqa: F401 - the same browser

pytestmark = browser_test

EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
BIN = Memory(
    "memory/m1",
    "memory",
    "The bin goes out on Monday",
    tags=["bin"],
    made_at=1_779_000_000.0,
    evidence=[Evidence(1_779_000_000.0, "c1", "d" * 64, "letter.pdf")],
)
KITCHEN = calls.Project("project/kitchen", "kitchen", "New kitchen", memories=2)
ENTRY = calls.DiaryEntry("d1", "compact_memory", "pc2", 1.0, 2.0, ok=True, what="3 memories merged into 1", changes=3)
RECEIPT = calls.ForgetItem("r1", ["memory/m1"], [Removed("pc1", "done", 2), Removed("pc2", "pending")])


def saved(request: calls.SaveRequest) -> list[Any]:
    return [calls.SaveItem(msgspec.structs.replace(BIN, text=request.text), Copies(1, 2, "pc2 is away"))]


REPLIES: dict[str, Any] = {
    "memories": [calls.MemoriesItem([BIN], 1)],
    "save": saved,
    "forget": [RECEIPT],
    "projects": [calls.ProjectsItem([KITCHEN])],
    "save_project": [calls.SaveProjectItem(KITCHEN, Copies())],
    "diary": [calls.DiaryItem([ENTRY])],
    "undo": [calls.UndoItem(ENTRY, ["o:1"])],  # type: ignore[list-item]
    "settings": [calls.SettingsItem("", automatic=True)],
    "save_settings": lambda request: [calls.SettingsItem("", automatic=request.automatic)],
    "export": [calls.ExportItem([], 0)],
    "import": [calls.ImportItem(0, 1, [])],
}


@pytest.fixture
async def served(serve):
    return await serve(replies=dict(REPLIES))


def last(served: Any, name: str) -> Any:
    return next(request for called, request, _ in reversed(served.dispatch.calls) if called == name)


async def opened(page: Page) -> Page:
    await page.click("#memory")
    await expect(page.locator("#memory-list li").first).to_be_visible()
    return page


async def test_what_is_remembered_is_listed_with_where_it_was_learned(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    row = page.locator("#memory-list .memory")
    await expect(row).to_contain_text("The bin goes out on Monday")
    await expect(row.locator(".facts")).to_contain_text("fact · household")
    await row.get_by_role("button", name="Where it was learned").click()
    await expect(row.locator(".evidence")).to_contain_text("letter.pdf")
    assert last(served, "memories") == calls.MemoriesRequest(Who(), key="memory/m1", history=True, limit=1)


async def test_it_is_searched_as_one_types(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    served.dispatch.replies["memories"] = [calls.MemoriesItem([], 0)]
    await page.fill("#memory-search", "boiler")
    await expect(page.locator("#memory-list .empty")).to_have_text("Nothing is remembered that fits.")
    assert last(served, "memories").query == "boiler"


async def test_what_a_memory_says_is_text_and_never_markup(serve, browse):  # noqa: F811
    evil = msgspec.structs.replace(
        BIN, text=EVIL, title=EVIL, tags=[EVIL], project=EVIL, evidence=[Evidence(file=EVIL)]
    )
    replies = REPLIES | {
        "memories": [calls.MemoriesItem([evil], 1)],
        "projects": [calls.ProjectsItem([msgspec.structs.replace(KITCHEN, name=EVIL, text=EVIL, members=[EVIL])])],
        "diary": [calls.DiaryItem([msgspec.structs.replace(ENTRY, what=EVIL)])],
    }
    told = events.MemoriesEvent([events.RememberedMemory("memory/m1", EVIL, EVIL)])
    host = ScriptedHost([ROUTE, told, events.TokenEvent("a"), DONE])
    page = await browse((await serve(host, replies)).url)
    await ask(page, "q")
    await expect(page.locator(".recalled .source")).to_have_count(1)
    await opened(page)
    await page.get_by_role("button", name="Where it was learned").click()
    await page.get_by_role("button", name="Edit").click()
    for tab in ("projects", "diary"):
        await page.click(f"[data-tab={tab}]")
        await expect(page.locator("#memory-list .memory")).to_contain_text("<script>")
    assert await page.locator("#memory-list :is(img, script), .answer :is(img, script)").count() == 0
    assert await page.title() == "TARS"


async def test_something_is_added_and_the_page_says_on_how_many_computers_it_is(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    await page.fill("#memory-text", "Answer briefly")
    await page.select_option("#memory-sort", "instruction")
    await page.select_option("#memory-scope", "person")
    await page.keyboard.press("Tab")
    await page.click("#memory-save")
    await expect(page.locator("#memory-told")).to_contain_text("on 1 computer")
    await expect(page.locator("#memory-told")).to_contain_text("pc2 is away")
    assert last(served, "save") == calls.SaveRequest(Who(), "Answer briefly", sort="instruction", scope="person")


async def test_a_memory_is_edited_in_its_place(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    await page.get_by_role("button", name="Edit").click()
    await page.locator(".edit textarea").fill("The bin goes out on Friday")
    await page.locator(".edit").get_by_role("button", name="Save").click()
    await expect(page.locator("#memory-list .memory")).to_contain_text("The bin goes out on Friday")
    assert (last(served, "save").key, last(served, "save").tags) == ("memory/m1", ["bin"])


async def test_forgetting_asks_first_and_shows_the_receipt(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    await page.get_by_role("button", name="Forget", exact=True).click()
    await expect(page.locator(".sure")).to_contain_text("for good, on every computer?")
    await page.get_by_role("button", name="Cancel").click()
    assert "forget" not in {called for called, _, _ in served.dispatch.calls}
    await page.get_by_role("button", name="Forget", exact=True).click()
    await page.get_by_role("button", name="Yes, forget it").click()
    await expect(page.locator("#memory-told")).to_contain_text("pc1: 2 texts gone")
    await expect(page.locator("#memory-told")).to_contain_text("pc2: switched off")
    await expect(page.locator("#memory-list .memory")).to_have_count(0)


async def test_what_does_not_work_says_why(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    served.dispatch.replies["forget"] = [Unavailable("no core node is there")]
    await page.get_by_role("button", name="Forget", exact=True).click()
    await page.get_by_role("button", name="Yes, forget it").click()
    await expect(page.locator("#memory-wrong")).to_have_text("no core node is there")


async def test_projects_are_begun_and_finished_and_the_diary_undone(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    await page.click("[data-tab=projects]")
    await page.locator("#memory-list input").fill("Garden")
    await page.keyboard.press("Enter")
    await expect(page.locator("#memory-list input")).to_have_value("")  # the list is a new one, nothing moves any more
    await expect(page.locator("#memory-list .memory")).to_contain_text("New kitchen")
    assert any(request.name == "Garden" for called, request, _ in served.dispatch.calls if called == "save_project")
    async with page.expect_response("**/api/projects"):  # which shows them anew, after the end
        await page.get_by_role("button", name="Finish").click()
    await page.click("[data-tab=diary]")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator("#memory-told")).to_contain_text("1 records are back")
    assert last(served, "save_project").is_ended
    assert last(served, "undo").id == "d1"


async def test_learning_by_itself_is_switched_off(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    await expect(page.locator("#memory-automatic")).to_be_checked()
    served.dispatch.replies["settings"] = [calls.SettingsItem("", automatic=False)]
    async with page.expect_response("**/api/memory/settings"):
        await page.locator("#memory-automatic").click()
    await expect(page.locator("#memory-automatic")).not_to_be_checked()
    assert last(served, "save_settings").automatic is False


async def test_it_is_exported_and_imported(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export (JSON)").click()
    path = await (await download.value).path()
    exported = path.read_bytes()
    line = b'{"kind": "memory", "id": "m1", "text": "a"}\n'
    head, foot = exported.splitlines(keepends=True)
    await page.set_input_files(
        "#memory-file", [{"name": "m.jsonl", "mimeType": "application/json", "buffer": head + line + foot}]
    )
    await expect(page.locator("#memory-told")).to_contain_text("0 taken in, 1 known already, 0 refused.")
    wrong = {"name": "photo.json", "mimeType": "application/json", "buffer": b"not an export"}
    await page.set_input_files("#memory-file", [wrong])
    await expect(page.locator("#memory-wrong")).to_contain_text("no file that a memory export wrote")
    await expect(page.locator("#memory-told")).to_be_empty()  # what was told of the first file is not of this one


async def test_what_was_done_is_not_told_beside_another_tab(served, browse):  # noqa: F811
    page = await opened(await browse(served.url))
    await page.fill("#memory-text", "Answer briefly")
    await page.keyboard.press("Enter")
    await expect(page.locator("#memory-told")).to_contain_text("computer")
    await page.click("[data-tab=diary]")
    await expect(page.locator("#memory-told")).to_be_empty()


async def test_a_temporary_chat_is_said_to_the_node_shown_and_a_chat_of_its_own(served, browse):  # noqa: F811
    page = await browse(served.url)
    await ask(page, "one")
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    await page.click("#temporary")
    await expect(page.locator("#temporary-badge")).to_be_visible()
    await expect(page.locator(".answer")).to_have_count(0)
    await ask(page, "two")
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    await page.click("#temporary")
    await expect(page.locator("#temporary-badge")).to_be_hidden()
    await ask(page, "three")
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    assert [(question.text, question.temporary) for question in served.host.asked] == [
        ("one", False),
        ("two", True),
        ("three", False),
    ]
    assert len({question.conversation for question in served.host.asked}) == 3
    assert all(question.turns == () for question in served.host.asked)


async def test_a_chat_belongs_to_the_project_that_is_chosen(served, browse):  # noqa: F811
    page = await browse(served.url)
    await page.select_option("#project", "kitchen")
    await ask(page, "q")
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    assert served.host.asked[-1].project == "kitchen"


async def test_an_answer_shows_which_memories_it_was_given(serve, browse):  # noqa: F811
    told = events.MemoriesEvent(
        [events.RememberedMemory("memory/m1", "The bin goes out on Monday", when=1_779_000_000.0)]
    )
    host = ScriptedHost([ROUTE, told, events.TokenEvent("On Monday."), DONE])
    page = await browse((await serve(host, dict(REPLIES))).url)
    await ask(page, "When does the bin go out?")
    await expect(page.locator(".recalled > .all > summary")).to_have_text("1 memory")
    await expect(page.locator(".recalled summary svg")).to_have_count(2)  # the arrows that say it can be opened
    await page.click(".recalled > .all > summary")
    await expect(page.locator(".recalled .source")).to_contain_text("The bin goes out on Monday")


async def test_it_speaks_spanish_fits_a_phone_and_every_control_has_a_name(served, browse):  # noqa: F811
    page = await opened(await browse(served.url, locale="es-ES", viewport={"width": 360, "height": 640}))
    await expect(page.locator("#memory-title")).to_have_text("Memoria")
    await expect(page.locator("#memory-list .facts")).to_contain_text("hecho · hogar")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for tab in ("memories", "projects", "diary"):
        await page.click(f"[data-tab={tab}]")
        nameless = await page.evaluate(
            "[...document.querySelectorAll('button, textarea, select, input:not([hidden])')]"
            ".filter(n => n.checkVisibility())"
            ".filter(n => !(n.getAttribute('aria-label') || n.textContent.trim() || n.labels?.length))"
            ".map(n => n.outerHTML)"
        )
        assert nameless == []
    await page.keyboard.press("Escape")
    await expect(page.locator("#memory-dialog")).to_be_hidden()
