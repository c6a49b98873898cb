"""Commands as processes, against a real API server with a scripted host and dispatch."""

from __future__ import annotations

import asyncio
import json

import pytest

from tarsd import calls
from tarsd.errors import DocumentError, Unavailable
from tarsd.host import events
from tests.api import scripted_services as scripted
from tests.api.scripted_services import DONE, ROUTE, SOURCES, ScriptedHost, answer


async def test_ask_prints_the_answer_and_its_sources_as_output_and_the_rest_as_remarks(serve, tarsd):
    served = await serve()
    ended = await tarsd("ask", "Which", "pressure?", "--api", served.url)
    assert ended.code == 0
    assert ended.out == ("Between 1.2 and 1.8 bar [1].\n\nSources\n  [1] boiler-manual.pdf, page 3\n  [2] notas.md\n")
    assert ended.err == "answered by pc1 (tiny-model) in 0.8 s, prepared by pc2\n"
    assert served.host.asked[0].text == "Which pressure?"


async def test_ask_reads_the_question_from_standard_input(serve, start):
    served = await serve()
    running = await start("ask", TARSD_API=served.url)
    running.write("from a pipe\n")
    assert (await running.ended()).code == 0
    assert served.host.asked[0].text == "from a pipe"


@pytest.mark.parametrize("environ", [{"LANG": "es_ES.UTF-8"}, {"LANG": "en_US", "LC_ALL": "es_ES"}])
async def test_ask_speaks_the_language_of_the_environment(serve, tarsd, environ):
    served = await serve()
    ended = await tarsd("ask", "q", TARSD_API=served.url, **environ)
    assert "Fuentes" in ended.out
    assert "página 3" in ended.out
    assert "respondido por pc1" in ended.err
    assert served.host.asked[0].language == "es"


async def test_the_language_option_wins_over_the_environment(serve, tarsd):
    served = await serve()
    ended = await tarsd("--lang", "en", "ask", "q", TARSD_API=served.url, LANG="es_ES.UTF-8")
    assert "Sources" in ended.out


async def test_ask_as_json_is_the_events_one_a_line(serve, tarsd):
    served = await serve()
    ended = await tarsd("ask", "q", "--json", "--api", served.url)
    types = [json.loads(line)["type"] for line in ended.out.splitlines()]
    assert types == ["session", "route", "sources", "token", "token", "done"]


async def test_ask_tells_what_is_degraded(serve, tarsd):
    done = events.DoneEvent("stop", "pc1", "pc1", "e", "m", ["found by keywords only"], DONE.usage, 0.1, 0.2)
    served = await serve(ScriptedHost([ROUTE, events.TokenEvent("a"), done]))
    assert "not at its best: found by keywords only" in (await tarsd("ask", "q", TARSD_API=served.url)).err


@pytest.mark.parametrize(
    ("limit", "lang", "told"),
    [("context", "en", "can hold no more text"), ("deadline", "es", "se acabó su tiempo"), ("", "en", "length limit")],
)
async def test_an_answer_that_a_limit_cut_says_which(serve, tarsd, limit, lang, told):
    done = events.DoneEvent("length", "pc1", "pc1", "e", "m", [], DONE.usage, 0.1, 0.2, limit)
    served = await serve(ScriptedHost([ROUTE, events.TokenEvent("a"), done]))
    assert told in (await tarsd("--lang", lang, "ask", "q", TARSD_API=served.url)).err


async def test_what_a_document_says_cannot_drive_the_terminal(serve, tarsd):
    served = await serve(ScriptedHost([ROUTE, SOURCES, events.TokenEvent("\x1b[2Jgone\x07\x9b"), DONE]))
    assert (await tarsd("ask", "q", TARSD_API=served.url)).out.startswith("[2Jgone\n")


async def test_ctrl_c_stops_the_answer_cleanly(serve, start):
    host = ScriptedHost(answer("half an answer"), hang_after=3)
    running = await start("ask", "q", TARSD_API=(await serve(host)).url)
    await running.read_until("half an answer")
    running.interrupt()
    ended = await running.ended()
    assert (ended.code, ended.err) == (130, "(stopped)\n")
    assert host.left.is_set()


@pytest.mark.parametrize(
    ("error", "code"), [("Overloaded", 69), ("NotAllowed", 77), ("InvalidInput", 1), ("DeadlineExceeded", 69)]
)
async def test_an_error_is_a_sentence_and_an_exit_code(serve, tarsd, error, code):
    served = await serve(ScriptedHost([ROUTE, events.ErrorEvent(error, "that did not go well")]))
    ended = await tarsd("ask", "q", TARSD_API=served.url)
    assert (ended.code, ended.err) == (code, "tarsd: that did not go well\n")


async def test_no_node_is_unavailable_and_says_what_to_do(tarsd, unused_tcp_port):
    ended = await tarsd("ask", "q", "--api", f"http://127.0.0.1:{unused_tcp_port}")
    assert ended.code == 69
    assert "tarsd run" in ended.err
    assert "Traceback" not in ended.err


async def test_a_node_that_goes_away_in_the_middle_is_unavailable(serve, start):
    host = ScriptedHost(answer("half"), hang_after=3)
    served = await serve(host)
    running = await start("ask", "q", TARSD_API=served.url)
    await running.read_until("half")
    await served.server.stop(0.0)
    assert (await running.ended()).code == 69


async def test_chat_answers_line_by_line_in_one_conversation(serve, start):
    host = ScriptedHost()
    running = await start("chat", TARSD_API=(await serve(host)).url)
    running.write("one\ntwo\n/new\nthree\n")
    ended = await running.ended()
    assert ended.code == 0
    assert ended.out.count("Between 1.2 and 1.8 bar") == 3
    first, second, third = host.asked
    assert first.conversation == second.conversation != third.conversation
    assert [len(question.turns) for question in host.asked] == [0, 1, 0]


async def test_ctrl_c_in_a_chat_stops_the_answer_and_not_the_chat(serve, start):
    host = ScriptedHost(answer("half"), hang_after=3)
    running = await start("chat", TARSD_API=(await serve(host)).url)
    running.write("one\n")
    await running.read_until("half")
    running.interrupt()
    await asyncio.wait_for(host.left.wait(), 60)
    host.hang_after, host.script = None, answer("whole")
    running.write("two\n")
    ended = await running.ended()
    assert (ended.code, "whole" in ended.out) == (0, True)


async def test_a_chat_goes_on_after_the_node_came_back(serve, start):
    host = ScriptedHost()
    served = await serve(host)
    running = await start("chat", TARSD_API=served.url)
    running.write("one\n")
    await running.read_until("notas.md")
    await served.server.stop(0.0)
    await serve(host, settings=scripted.settings(port=served.port))
    running.write("two\n")
    ended = await running.ended()
    assert (ended.code, "notas.md" in ended.out) == (0, True)


async def test_ingest_reads_files_and_folders_and_tells_how_each_went(serve, tarsd, tmp_path):
    folder = tmp_path / "papers" / "2026"
    folder.mkdir(parents=True)
    for name in ("a.md", "b.TXT", ".hidden.md", "photo.jpg"):
        (folder / name).write_text(name)
    (tmp_path / "named.jpg").write_text("taken as it was named")
    served = await serve(replies={"ingest": scripted.INGEST})
    ended = await tarsd("ingest", str(tmp_path / "papers"), "named.jpg", str(folder / "a.md"), TARSD_API=served.url)
    assert ended.code == 0
    assert [request.file for _, request, _ in served.dispatch.calls] == ["a.md", "b.TXT", "named.jpg"]
    assert "3 of 3 documents are in." in ended.out
    assert "a.md: reading" in ended.err
    assert served.dispatch.made[0].received == b"a.md"


async def test_ingest_goes_on_after_a_bad_file_and_its_exit_code_tells(serve, tarsd, tmp_path):
    (tmp_path / "bad.pdf").write_text("x")
    (tmp_path / "empty.md").write_text("")
    served = await serve(replies={"ingest": [DocumentError("bad.pdf: encrypted")]})
    ended = await tarsd("ingest", "bad.pdf", "empty.md", "--json", TARSD_API=served.url)
    results = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 1
    assert [(result["file"], result["reason"]) for result in results] == [
        ("bad.pdf", "bad.pdf: encrypted"),
        ("empty.md", "body: the document is empty"),
    ]


async def test_ingest_in_spanish(serve, tarsd, tmp_path):
    (tmp_path / "a.md").write_text("x")
    served = await serve(replies={"ingest": scripted.INGEST})
    ended = await tarsd("ingest", "a.md", "--lang", "es", "--language", "es", "--no-wait", TARSD_API=served.url)
    assert "1 de 1 documentos están dentro." in ended.out
    assert (served.dispatch.calls[0][1].language, served.dispatch.calls[0][1].wait) == ("es", False)


async def test_ingest_of_nothing_says_so(tarsd, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (await tarsd("ingest", "missing.pdf")).err == "tarsd: missing.pdf: there is no such file\n"
    ended = await tarsd("ingest", "empty")
    assert ended.code == 1
    assert "nothing to read" in ended.err


async def test_ingest_when_nobody_can_is_unavailable(serve, tarsd, tmp_path):
    (tmp_path / "a.md").write_text("x")
    served = await serve(replies={"ingest": [Unavailable("no node offers ingest right now")]})
    assert (await tarsd("ingest", "a.md", TARSD_API=served.url)).code == 69


async def test_search_prints_passages_with_their_places_and_nothing_found_is_1(serve, tarsd):
    served = await serve(replies={"search": [scripted.SEARCH]})
    ended = await tarsd("search", "boiler", "pressure", "--limit", "3", TARSD_API=served.url)
    assert ended.code == 0
    assert ended.out.startswith("[1] boiler-manual.pdf, page 3\n    Keep ")
    assert served.dispatch.calls[0][1] == calls.SearchRequest("boiler pressure", 3)
    served.dispatch.replies["search"] = [calls.SearchItem([])]
    assert (await tarsd("search", "x", TARSD_API=served.url)).code == 1


async def test_members_is_a_table_or_json(serve, tarsd):
    served = await serve()
    ended = await tarsd("members", TARSD_API=served.url)
    lines = ended.out.splitlines()
    assert lines[0].split()[:4] == ["name", "state", "zone", "roles"]
    assert lines[1].startswith("pc1 *")
    assert "two probes lost" in lines[3]
    # the longest column is the last one: a terminal cuts that, and not the state of the network
    assert lines[0].split()[-3:] == ["address", "remark", "can"]
    assert "search" in lines[2].split()[-1]
    found = json.loads((await tarsd("members", "--json", TARSD_API=served.url)).out)
    assert len(found["members"]) == 4


async def test_members_can_be_watched_until_ctrl_c(serve, start):
    running = await start("members", "--watch", "--json", TARSD_API=(await serve()).url)
    await running.read_until("\n")
    await running.read_until("\n")
    running.interrupt()
    assert (await running.ended()).code == 0


async def test_status_tells_parts_and_its_exit_code_tells_health(serve, tarsd):
    served = await serve(replies={"status": [scripted.status()]})
    ended = await tarsd("status", TARSD_API=served.url)
    assert ended.code == 0
    assert "documents: 3" in ended.out
    served.dispatch.replies["status"] = [scripted.status(healthy=False)]
    ended = await tarsd("status", TARSD_API=served.url)
    assert (ended.code, "! disk is full" in ended.out) == (1, True)


async def test_status_of_the_cluster_names_who_is_silent(serve, tarsd):
    served = await serve(replies={"status": [scripted.status()]})
    ended = await tarsd("status", "--cluster", TARSD_API=served.url)
    assert ended.code == 1
    assert "pc9  dead\n  no answer for 8 s" in ended.out


async def test_invite_uses_the_admin_token_of_the_data_folder(serve, tarsd, config, tmp_path):
    await serve()  # whose address is in api.url there
    ended = await tarsd("invite", "--zone", "lab", "--expires", "10m", "--config", str(config))
    assert (ended.code, "admin token" in ended.err) == (77, True)
    (tmp_path / "admin.token").write_text("the-admin-token\n")
    ended = await tarsd("invite", "--zone", "lab", "--expires", "10m", "--config", str(config))
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "tars1.lab.600"
    as_json = json.loads((await tarsd("--config", str(config), "--json", "invite")).out)
    assert as_json == {"token": "tars1.core.3600", "zone": "core", "expires_s": 3600.0}


async def test_nightly_runs_jobs_and_its_exit_code_tells(serve, tarsd):
    items = [calls.NightlyItem("compact_memory", True, 3, "3 merged", 0.1)]
    served = await serve(replies={"nightly": items, "status": [scripted.status()]})
    environ = {"TARSD_API": served.url, "TARSD_TOKEN": "the-admin-token"}
    ended = await tarsd("nightly", "--now", "compact_memory", **environ)
    assert (ended.code, "3 merged" in ended.out) == (0, True)
    served.dispatch.replies["nightly"] = [calls.NightlyItem("health_check", False, 0, "disk is full", 0.1)]
    assert (await tarsd("nightly", "--now", **environ)).code == 1
    assert (await tarsd("nightly", "--now", TARSD_API=served.url)).code == 77
    assert "next: 03:00" in (await tarsd("nightly", **environ)).out
    ended = await tarsd("nightly", "compact_memory", **environ)
    assert (ended.code, "add --now" in ended.err) == (1, True)


@pytest.mark.parametrize("address", ["pc1:7711", "nonsense", "ftp://pc1"])
async def test_an_address_that_is_none_is_told_with_an_example(tarsd, address):
    for told, options, environ in (("--api", ("--api", address), {}), ("TARSD_API", (), {"TARSD_API": address})):
        ended = await tarsd(*options, "members", **environ)
        assert ended.code == 78
        assert ended.err == f"tarsd: {told} = {address!r}: allowed is a node's address, such as http://pc1.home:7711\n"


async def test_something_else_at_the_address_is_told_plainly(tarsd):
    async def answer_nonsense(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_nonsense, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ended = await tarsd("members", "--api", f"http://127.0.0.1:{port}")
    assert (ended.code, "is it a tarsd node?" in ended.err) == (69, True)
