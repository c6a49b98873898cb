"""`tarsd memory` as a person and as a script meet it; the calls are scripted."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import Copies, Entry, Evidence, Memory, RefusedEntry, Removed, Who
from tarsd.cli.memory_texts import ENGLISH, SPANISH
from tarsd.errors import NotFound, Unavailable
from tarsd.memory.bodies import MemoryBody
from tarsd.wire import encode

BIRTHDAY = Memory(
    "memory/m1",
    "memory",
    "Ana's birthday is 4 May",
    tags=["family"],
    made_at=1_779_000_000.0,
    valid_from=1_778_000_000.0,
    evidence=[Evidence(1_779_000_000.0, "c1", "d" * 64, "letter.pdf", ["memory/m0"])],
)
SUMMARY = Memory("summary/s1", "summary", "It was serviced.", title="Boiler", scope="person", person="ana")
FOUND = calls.MemoriesItem([BIRTHDAY, SUMMARY], 5)
RECEIPT = calls.ForgetItem(
    "r1",
    ["memory/m1"],
    [
        Removed("pc1", "done", 1, 1, 4, 2, backups=["old.tarsd-backup"]),
        Removed("pc2", "pending", reason="it is switched off"),
    ],
    at=1_779_000_000.0,
)
ENTRY = calls.DiaryEntry("d1", "compact_memory", "pc2", 1.0, 1_779_000_000.0, ok=True, what="3 memories merged into 1")
KITCHEN = calls.Project("project/kitchen", "kitchen", "New kitchen", members=["ana"], memories=2)


def saved(request: calls.SaveRequest) -> list[Any]:
    older = [Memory("memory/m0", "memory", "Ana's birthday is 3 May")]
    memory = msgspec.structs.replace(BIRTHDAY, key=request.key or "memory/new", text=request.text)
    return [calls.SaveItem(memory, Copies(1, 2, "pc2 is away"), older)]


TALK = calls.ConversationView("c1", "Tiles", "White ones were chosen.", 4, 1.0, 1_779_000_000.0)  # type: ignore[arg-type]
REPLIES = {
    "conversations": [calls.ConversationsItem([TALK])],
    "memories": lambda request: (
        [FOUND] if not request.key or request.key == BIRTHDAY.key else [calls.MemoriesItem([], 0)]
    ),
    "save": saved,
    "forget": [RECEIPT],
    "receipts": [RECEIPT],
    "projects": [calls.ProjectsItem([KITCHEN])],
    "save_project": lambda request: [calls.SaveProjectItem(KITCHEN, Copies(2, 2))],
    "diary": [calls.DiaryItem([ENTRY])],
    "undo": [calls.UndoItem(ENTRY, ["o:1", "o:2"], ["memory/x"])],  # type: ignore[list-item]
    "settings": [calls.SettingsItem("", automatic=True, allowed=False)],
    "save_settings": lambda request: [calls.SettingsItem("", automatic=request.automatic)],
    "export": [calls.ExportItem([Entry("memory", encode(MemoryBody("m1", "línea")))]), calls.ExportItem([], 1)],
    "import": [calls.ImportItem(1, 2, [RefusedEntry(3, "person", "it is another person's")], Copies(2, 2))],
}


@pytest.fixture
async def served(serve):
    return await serve(replies=dict(REPLIES))


@pytest.fixture
def memory(served, tarsd):
    """A function that runs `tarsd memory …` against the served node."""

    async def run(*arguments: str, lang: str = "en", **environ: str):
        return await tarsd("--api", served.url, "--lang", lang, "memory", *arguments, **environ)

    return run


def last(served, name: str) -> Any:
    return next(request for called, request, _ in reversed(served.dispatch.calls) if called == name)


@pytest.mark.parametrize("command", [(), ("list",)])
async def test_what_is_remembered_is_a_table_and_says_that_there_is_more(memory, command):
    ended = await memory(*command)
    assert ended.code == 0
    rows = [[cell.strip() for cell in line.split("  ") if cell] for line in ended.out.splitlines()]
    assert rows[0] == list(ENGLISH.list_header)
    assert rows[1] == [
        "memory/m1", "fact", "household", "2026-05-17", "Ana's birthday is 4 May",
    ]  # fmt: skip
    assert "ana" in ended.out.splitlines()[2]
    assert "Boiler: It was serviced." in ended.out
    assert "2 of 5; --offset 2 shows more." in ended.err


async def test_filters_and_words_reach_the_node(memory, served):
    await memory("search", "boiler", "may", "--as", "preference", "--scope", "person", "--history", "--limit", "3")
    assert last(served, "memories") == calls.MemoriesRequest(
        Who(), query="boiler may", sort="preference", scope="person", history=True, limit=3
    )


async def test_all_looks_as_the_administrator(memory, served):
    await memory("list", "--all", TARSD_TOKEN="the-admin-token")
    assert last(served, "memories").who == Who(sees_all=True)


async def test_nothing_found_is_exit_code_1_in_ones_language(memory, served):
    served.dispatch.replies["memories"] = [calls.MemoriesItem([], 0)]
    ended = await memory("search", "x", lang="es")
    assert (ended.code, ended.out) == (1, SPANISH.nothing + "\n")


async def test_show_tells_where_it_was_learned(memory):
    ended = await memory("show", "memory/m1")
    assert ended.code == 0
    for told in ("Ana's birthday is 4 May", "family", "a conversation (c1)", "letter.pdf", "memory/m0", "2026-05-05"):
        assert told in ended.out


async def test_what_is_not_there_is_exit_code_1_and_names_the_key(memory):
    ended = await memory("show", "memory/none")
    assert ended.code == 1
    assert "key: nothing is remembered as memory/none" in ended.err


async def test_control_characters_of_a_memory_do_not_drive_the_terminal(memory, served):
    evil = msgspec.structs.replace(BIRTHDAY, text="a\x1b[2Jb", tags=["\x1b]0;x\x07"], evidence=[])
    served.dispatch.replies["memories"] = [calls.MemoriesItem([evil], 1)]
    for command in (("list",), ("show", "memory/m1")):
        assert "\x1b" not in (await memory(*command)).out


async def test_add_says_its_key_what_it_contradicts_and_on_how_many_pcs_it_is(memory, served):
    ended = await memory("add", "Ana's birthday", "is 4 May", "--tag", "family", "--from", "2026-05-04")
    assert ended.code == 0
    assert "Remembered as memory/new." in ended.out
    assert "takes the place of memory/m0: Ana's birthday is 3 May" in ended.out
    assert "On 1 of 2 PCs so far: pc2 is away" in ended.err
    request = last(served, "save")
    assert (request.text, request.tags, request.scope) == ("Ana's birthday is 4 May", ["family"], "household")
    assert request.valid_from > 0


async def test_a_memory_added_to_a_project_is_the_projects(memory, served):
    await memory("add", "Oven 60 cm", "--project", "kitchen")
    assert (last(served, "save").scope, last(served, "save").project) == ("project", "kitchen")


async def test_edit_changes_only_what_is_named(memory, served):
    ended = await memory("edit", "memory/m1", "--text", "Ana's birthday is 5 May")
    assert "Changed: memory/m1." in ended.out
    request = last(served, "save")
    assert (request.key, request.text, request.tags) == ("memory/m1", "Ana's birthday is 5 May", ["family"])
    assert request.valid_from == BIRTHDAY.valid_from


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("edit", "memory/m1"), "nothing to change"),
        (("add", "x", "--from", "soon"), "--from: 'soon' is no date"),
        (("forget",), "name the KEYs"),
        (("forget", "memory/m1", "--conversation", "c1"), "name the KEYs"),
        (("forget", "../status", "--yes"), "is no key"),
        (("add", ""), "text: "),
        (("import", "/nowhere"), "FILE: /nowhere cannot be read"),
    ],
)
async def test_wrong_use_names_what_is_wrong_and_changes_nothing(memory, served, command, told):
    ended = await memory(*command)
    assert ended.code == 1
    assert told in ended.err
    assert not {"save", "forget", "import"} & {called for called, _, _ in served.dispatch.calls}


async def test_forget_shows_what_it_would_be_asks_and_shows_the_receipt(served, start, memory):
    running = await start("--api", served.url, "memory", "forget", "memory/m1")
    running.write("no\n")
    ended = await running.ended()
    assert ended.code == 1
    assert "memory/m1" in ended.err
    assert [request.preview for _, request, _ in served.dispatch.calls] == [True]
    running = await start("--api", served.url, "memory", "forget", "memory/m1")
    running.write("yes\n")
    ended = await running.ended()
    assert ended.code == 0
    assert not last(served, "forget").preview
    for told in ("Receipt r1", "pc1", "gone", "old.tarsd-backup", "pc2", "when it returns", "it is switched off"):
        assert told in ended.out
    assert "Not yet everywhere" in ended.out


async def test_forget_yes_does_not_ask_and_a_failed_node_is_exit_code_1(memory, served):
    assert (await memory("forget", "memory/m1", "--yes")).code == 0
    assert [request.preview for _, request, _ in served.dispatch.calls] == [False]
    failed = msgspec.structs.replace(RECEIPT, nodes=[Removed("pc1", "failed", reason="its disk is full")])
    served.dispatch.replies["forget"] = [failed]
    assert (await memory("forget", "memory/m1", "--yes")).code == 1


async def test_of_very_many_keys_the_others_are_counted(memory, served):
    served.dispatch.replies["receipts"] = [msgspec.structs.replace(RECEIPT, more=7)]
    assert "… and 7 more" in (await memory("receipts", "r1")).out
    assert "… and" not in (await memory("forget", "memory/m1", "--yes")).out


async def test_a_conversation_is_forgotten_by_its_id(memory, served):
    await memory("forget", "--conversation", "c-1", "--yes")
    request = last(served, "forget")
    assert (request.conversation, request.key) == ("c-1", "")


async def test_receipts_are_listed_and_one_is_shown_as_it_stands(memory, served):
    assert "r1" in (await memory("receipts")).out
    ended = await memory("receipts", "r1", lang="es")
    assert "Recibo r1" in ended.out
    assert last(served, "receipts").receipt == "r1"


async def test_export_writes_a_private_file_and_never_over_another(memory, tmp_path):
    ended = await memory("export", "--output", "m.jsonl")
    assert ended.code == 0
    assert "1 entries are in m.jsonl" in ended.err
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [line.get("tarsd") or line["text"] for line in lines] == ["memory", "línea", "end"]
    assert (tmp_path / "m.jsonl").stat().st_mode & 0o077 == 0
    assert (await memory("export", "--output", "m.jsonl")).code == 1
    assert "> línea" in (await memory("export", "--format", "markdown")).out


async def test_an_export_that_is_cut_off_leaves_no_file(memory, served, tmp_path):
    served.dispatch.replies["export"] = [REPLIES["export"][0], Unavailable("pc2 went away")]  # type: ignore[index]
    ended = await memory("export", "--output", "m.jsonl")
    assert ended.code == 69
    assert list(tmp_path.glob("m.jsonl*")) == []


async def test_import_counts_names_refused_lines_and_is_exit_code_1_then(memory, served, tmp_path):
    await memory("export", "--output", "m.jsonl")
    ended = await memory("import", "m.jsonl", "--preview", lang="es")
    assert "Se incorporarían 1, 2 ya se conocen, se rechazarían 1." in ended.out
    assert "línea 3: person: it is another person's" in ended.err
    assert ended.code == 1
    assert last(served, "import").preview
    served.dispatch.replies["import"] = [calls.ImportItem(1, 0, [], Copies(2, 2))]
    ended = await memory("import", "m.jsonl")
    assert (ended.code, ended.out) == (0, "1 taken in, 0 known already, 0 refused.\n")


async def test_an_import_of_a_cut_file_says_so(memory, served, tmp_path):
    served.dispatch.replies["import"] = [calls.ImportItem(1, 0, [])]
    await memory("export", "--output", "m.jsonl")
    whole = (tmp_path / "m.jsonl").read_text().splitlines()
    (tmp_path / "cut.jsonl").write_text("\n".join(whole[:-1]))
    ended = await memory("import", "cut.jsonl")
    assert ended.code == 1
    assert "cut off" in ended.err


async def test_projects_are_listed_begun_changed_and_ended(memory, served):
    assert "New kitchen" in (await memory("projects")).out
    await memory("project", "Garden", "--member", "Ana")
    assert last(served, "save_project") == calls.SaveProjectRequest(Who(), "Garden", members=["ana"])
    await memory("project", "kitchen", "--rename", "Kitchen", "--end")
    changed = last(served, "save_project")
    assert (changed.id, changed.name, changed.members, changed.is_ended) == ("kitchen", "Kitchen", ["ana"], True)


async def test_the_diary_is_shown_and_an_entry_undone_after_asking(served, start, memory):
    assert "3 memories merged into 1" in (await memory("diary")).out
    running = await start("--api", served.url, "memory", "undo", "d1")
    running.write("no\n")
    assert (await running.ended()).code == 1
    assert "undo" not in {called for called, _, _ in served.dispatch.calls}
    ended = await memory("undo", "d1", "--yes")
    assert "2 records are back" in ended.out
    assert "memory/x" in ended.out
    assert (await memory("undo", "nothing")).code == 1


async def test_conversations_are_listed(memory):
    assert "Tiles: White ones were chosen." in (await memory("conversations")).out


async def test_learning_by_itself_is_switched_and_shown(memory, served):
    ended = await memory("automatic")
    assert ENGLISH.automatic_on in ended.out
    assert ENGLISH.automatic_not_allowed in ended.out
    assert SPANISH.automatic_off in (await memory("automatic", "off", lang="es")).out
    assert last(served, "save_settings").automatic is False


async def test_every_word_gives_json_to_programs(memory):
    for command in (
        ("list",),
        ("show", "memory/m1"),
        ("add", "x"),
        ("edit", "memory/m1", "--text", "x"),
        ("forget", "memory/m1", "--yes"),
        ("receipts",),
        ("projects",),
        ("project", "Garden"),
        ("diary",),
        ("undo", "d1", "--yes"),
        ("automatic",),
        ("conversations",),
    ):
        ended = await memory(*command, "--json")
        assert isinstance(json.loads(ended.out), dict), command
        assert ended.err == ""


async def test_errors_have_the_exit_codes_of_all_commands(memory, served):
    served.dispatch.replies["memories"] = [Unavailable("no node offers memories right now")]
    assert (await memory("list")).code == 69
    served.dispatch.replies["diary"] = [NotFound("gone")]
    assert (await memory("diary")).code == 1
    assert (await memory("list", TARSD_TOKEN="tars_00000000_x")).code == 77
    assert (await memory("no-such-word")).code == 64


def test_both_languages_say_the_same_things():
    for english, spanish in zip(ENGLISH, SPANISH, strict=True):
        assert type(english) is type(spanish)
        if isinstance(english, dict):
            assert english.keys() == spanish.keys()
        if isinstance(english, list):
            assert len(english) == len(spanish)
