"""The main journey between real daemons with real models, in the order of a household's day.

The tests share one cluster and stand in the order in which things happen to it: each leaves it whole for the next.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncGenerator

import aiohttp
import openai
import pypdf
import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from tests.processes.real_nodes import (
    CONTRACT,
    MANUAL,
    MAX_TOKENS,
    NOTES,
    ONE_THREAD,
    RECIPE,
    answer_of,
    asking,
    counts_of,
    last_item,
    mapped,
    places,
    tracebacks,
    tree_of,
    until,
    wait_routable,
    workers_of,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

E20 = "What does error E20 mean on the washing machine?"
LONG = "Tell me a long story about a lighthouse keeper."
SILENCE_S = 2.0  # network.silence_s, by default
MARGIN_S = 15.0  # for a busy machine
HEAVY = ("torch/", "faiss/", "faiss_cpu", "libtorch", "libfaiss")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    plans = [
        Plan("pc1", ("cognitive",), settings=ONE_THREAD),
        Plan("pc2", ("processing", "orchestrator", "monitoring"), settings=ONE_THREAD),
    ]
    async with cluster(plans) as running:
        await running.wait_capability("pc2", "chat", of="pc1")
        await running.wait_capability("pc1", "embed", of="pc2", within_s=120)
        yield running


# --- finding each other ---------------------------------------------------------------------------------------------


async def test_two_nodes_find_each_other_without_being_told_an_address(nodes):
    for daemon in nodes.daemons:
        assert "seeds" not in daemon.config.read_text()
    for seen_by in ("pc1", "pc2"):
        members = await nodes.clients[seen_by].members()
        assert {name: (m["state"], m["zone"]) for name, m in members.items()} == {
            "pc1": ("alive", "core"),
            "pc2": ("alive", "core"),
        }
        assert {"chat", "remember"} <= set(members["pc1"]["capabilities"])
        assert {"prepare", "search", "ingest", "embed", "watch"} <= set(members["pc2"]["capabilities"])
    print(f"discovery: {nodes.discovery_s:.2f} s after the second node was ready")


async def test_members_shows_both_on_the_command_line(nodes):
    shown = await nodes["pc1"].command("members")
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["pc1", "pc2"]


# --- documents ------------------------------------------------------------------------------------------------------


async def test_a_document_is_read_on_the_node_that_can(nodes):
    items = [item async for item in nodes.clients["pc2"].ingest(MANUAL)]
    assert items[0]["stage"] in ("queued", "parsing")
    assert items[-1]["stage"] == "done"
    assert items[-1]["passages"] >= 5


async def test_a_document_given_to_a_node_that_cannot_is_passed_on(nodes):
    assert (await last_item(nodes.clients["pc1"], RECIPE))["stage"] == "done"
    jobs = (await nodes.clients["pc2"].get("/api/jobs"))["jobs"]
    assert [(job["file"], job["stage"]) for job in jobs if job["file"] == RECIPE.name] == [(RECIPE.name, "done")]


@pytest.mark.parametrize("given_to", ["pc1", "pc2"])
async def test_the_same_document_twice_is_one_document(nodes, given_to):
    before = await counts_of(nodes.clients["pc2"])
    assert (await last_item(nodes.clients[given_to], MANUAL))["stage"] == "duplicate"
    assert (await counts_of(nodes.clients["pc2"]))["records"] == before["records"]


def encrypted_pdf() -> bytes:
    writer = pypdf.PdfWriter(clone_from=MANUAL)
    writer.encrypt("secret", algorithm="AES-256")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.pdf", MANUAL.read_bytes()[:700], "broken"),
        ("locked.pdf", encrypted_pdf(), "password"),
    ],
    ids=["broken", "encrypted"],
)
async def test_a_document_that_cannot_be_read_says_why_and_harms_nothing(nodes, name, content, reason):
    before = await counts_of(nodes.clients["pc2"])
    items = [item async for item in nodes.clients["pc2"].ingest_bytes(name, content)]
    assert items[-1]["stage"] == "failed"
    assert reason in items[-1]["reason"]
    print(f"{name}: {items[-1]['reason']}")
    assert (await counts_of(nodes.clients["pc2"]))["records"] == before["records"]
    assert (await nodes.clients["pc2"].get("/healthz"))["healthy"]


async def test_the_next_document_after_a_broken_one_is_read(nodes):
    assert (await last_item(nodes.clients["pc2"], NOTES))["stage"] == "done"


async def test_the_records_reach_the_other_node(nodes):
    wanted = (await counts_of(nodes.clients["pc2"]))["records"]

    async def has_all():
        return (await counts_of(nodes.clients["pc1"]))["records"] == wanted

    await until(has_all, 60, "pc1 has all records")
    assert (await counts_of(nodes.clients["pc1"]))["documents"] == 3


# --- questions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked_at", ["pc2", "pc1"])
async def test_a_question_anywhere_is_answered_by_the_model_from_the_right_page(nodes, asked_at):
    told = await answer_of(nodes[asked_at], E20)
    assert told["text"].strip()
    assert (told["route"], told["prepared_by"], told["generated_by"]) == ("needs_context", "pc2", "pc1")
    assert (MANUAL.name, 5) in places(told)[:2]
    assert told["degraded"] == []


async def test_a_search_at_the_node_without_index_is_served_by_the_other(nodes):
    found = await nodes.clients["pc1"].get("/api/search?q=cuándo se echa la sal a las lentejas", within_s=60)
    assert found["hits"][0]["passage"]["file"] == RECIPE.name
    assert set(found["hits"][0]["found_by"]) <= {"keywords", "vectors"}


async def test_the_official_openai_client_asks_unchanged(nodes):
    async with openai.AsyncOpenAI(base_url=f"{nodes['pc2'].url}/v1", api_key="any", max_retries=0) as client:
        found = [model async for model in client.models.list()]
        models = [model.id for model in found if model.model_extra["tarsd"]["use"] != "embedding"]
        assert models[0] == "tars"
        assert len(models) == 2  # and the one that pc1 has
        hello = [{"role": "user", "content": "Say hello."}]
        for model in models:
            whole = await client.chat.completions.create(
                model=model, messages=hello, max_tokens=8, temperature=0, seed=1
            )
            assert whole.choices[0].message.content
            assert 0 < whole.usage.completion_tokens <= 8
            stream = await client.chat.completions.create(
                model=model,
                messages=hello,
                max_tokens=8,
                temperature=0,
                seed=1,  # with one, a prompt is computed the same way however much of it is in a cache
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == whole.choices[0].message.content
            assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


# --- what a node carries --------------------------------------------------------------------------------------------


async def test_a_cognitive_node_has_neither_torch_nor_faiss_in_any_of_its_processes(nodes):
    assert any(mapped(process, HEAVY) for process in workers_of(nodes["pc2"]))  # so that what we look for is there
    assert not mapped(tree_of(nodes["pc2"])[0], HEAVY)
    tree = tree_of(nodes["pc1"])
    assert len(tree) >= 2  # the daemon and its model
    for process in tree:
        assert not mapped(process, HEAVY), process.cmdline()
    for daemon in nodes.daemons:
        print(f"daemon of {daemon.name}: RSS {daemon.rss_bytes() / (1 << 20):.1f} MiB")


async def test_nightly_work_can_be_run_at_once(nodes):
    for daemon in nodes.daemons:
        shown = await daemon.command("nightly", "--now")
        assert [line.split()[:2] for line in shown.splitlines()] == [
            ["ok", "compact_memory"],
            ["ok", "rebuild_embeddings"],
            ["ok", "cleanup_logs"],
            ["ok", "health_check"],
        ]


# --- what goes wrong ------------------------------------------------------------------------------------------------


async def test_a_killed_model_comes_back_and_goes_on_with_its_answer_and_the_daemon_lives(nodes):
    pc1, client = nodes["pc1"], nodes.clients["pc1"]
    daemon, (worker,) = pc1.pid, workers_of(pc1)
    answering = await asking(client, LONG)
    worker.kill()
    answer = await answering
    assert answer.finished
    assert answer.end["generated_by"] == "pc1"
    print(f"the reader waited {answer.longest_gap_s:.2f} s for the model's return")

    async def is_back():
        found = workers_of(pc1)
        return found and found[0].pid != worker.pid and "chat" in (await client.members())["pc1"]["capabilities"]

    await until(is_back, 60, "the model is back")
    told = await answer_of(pc1, "Say hello.")
    assert told["text"].strip()
    assert told["generated_by"] == "pc1"
    assert pc1.pid == daemon


async def test_a_frozen_node_costs_a_question_no_more_than_the_silence(nodes):
    client = nodes.clients["pc1"]
    nodes["pc2"].freeze()
    try:
        answer = await client.ask(E20)
    finally:
        nodes["pc2"].thaw()
    (route,) = answer.of_type("route")
    assert route["prepared_by"] == "pc1"
    prepared_s = next(at for at, event in answer.events if event["type"] == "route")
    print(f"frozen: prepared alone after {prepared_s:.2f} s, first token after {answer.first_token_s:.2f} s")
    assert prepared_s < SILENCE_S + MARGIN_S
    assert answer.finished
    assert answer.end["degraded"]
    assert answer.of_type("sources")[0]["sources"][0]["file"] == MANUAL.name


async def test_a_node_that_thaws_is_used_again(nodes):
    print(f"thawed: routable again after {await wait_routable(nodes, 'pc1', 'pc2'):.2f} s")
    told = await answer_of(nodes["pc1"], E20)
    assert (told["prepared_by"], told["degraded"]) == ("pc2", [])


async def test_a_node_killed_while_it_prepares_is_not_missed(nodes):
    """A document that it has only just taken in is left unread for now: the next test but one looks for it."""
    client, pc2 = nodes.clients["pc1"], nodes["pc2"]
    (accepted,) = await given_without_waiting(nodes, CONTRACT)
    assert accepted["stage"] in ("queued", "parsing")
    asked_before = await questions_at_pc1(nodes)
    pc2.freeze()  # so that the question surely is in its hands when it is killed
    answering = asyncio.create_task(client.ask(E20))

    async def is_taken():
        return await questions_at_pc1(nodes) > asked_before

    await until(is_taken, 60, "pc1 took the question")
    await pc2.kill()
    answer = await answering
    assert answer.finished
    assert answer.end["degraded"]
    assert answer.of_type("sources")[0]["sources"][0]["file"] == MANUAL.name


async def given_without_waiting(nodes, file):
    parameters = {"file": file.name, "wait": "0"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{nodes['pc2'].url}/api/documents", params=parameters, data=file.read_bytes()) as response,
    ):
        assert response.status == 200
        return [json.loads(line) for line in (await response.text()).splitlines() if line.strip()]


async def questions_at_pc1(nodes):
    text = await nodes.clients["pc1"].get_text("/metrics")
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith("tarsd_questions_total")))


async def test_the_survivor_answers_from_its_own_copy_and_says_so(nodes):
    told = await answer_of(nodes["pc1"], E20)
    assert told["text"].strip()
    assert (told["prepared_by"], told["generated_by"]) == ("pc1", "pc1")
    assert (MANUAL.name, 5) in places(told)[:2]
    assert any("pc1" in reason for reason in told["degraded"])
    dead_s = await nodes.wait_state("pc1", "pc2", ["dead"], within_s=60)
    print(f"killed: seen as dead {dead_s:.2f} s after that answer")


async def test_a_node_that_was_killed_comes_back_with_its_jobs(nodes):
    await nodes["pc2"].start()
    print(f"restarted: routable {await wait_routable(nodes, 'pc1', 'pc2'):.2f} s after READY")
    told = await answer_of(nodes["pc1"], E20)
    assert told["prepared_by"] == "pc2"

    async def is_read():
        jobs = (await nodes.clients["pc2"].get("/api/jobs"))["jobs"]
        return [job["stage"] for job in jobs if job["file"] == CONTRACT.name] == ["done"]

    await until(is_read, 120, f"{CONTRACT.name} is read after the restart")
    found = await nodes.clients["pc1"].get("/api/search?q=vaso de expansión roto", within_s=60)
    first = found["hits"][0]["passage"]
    assert (first["file"], first["page"]) == (CONTRACT.name, 2)  # the scanned page


async def test_an_answer_under_way_outlives_the_node_that_prepared_it(nodes):
    answering = await asking(nodes.clients["pc1"], LONG)
    await nodes["pc2"].kill()
    answer = await answering
    assert answer.finished
    assert answer.end["usage"]["completion_tokens"] <= MAX_TOKENS
    await nodes["pc2"].start()
    await nodes.wait_full()


async def test_a_node_that_is_asked_to_leave_says_goodbye(nodes):
    began = time.monotonic()
    code = await nodes["pc2"].stop()
    took_s = time.monotonic() - began
    print(f"SIGTERM: ended after {took_s:.2f} s")
    assert (code, took_s < 60) == (0, True)
    assert (await nodes.clients["pc1"].members())["pc2"]["state"] == "left"


async def test_nothing_of_this_was_a_surprise_to_any_daemon(nodes):
    assert tracebacks(nodes) == {}
