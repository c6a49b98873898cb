from __future__ import annotations

import asyncio
import struct
import time
from contextlib import aclosing

import pytest
from memory_help import ANA, BOB, OpenStore, add_document, passage, sha

from tarsd.calls import Record
from tarsd.errors import InvalidInput, StorageError
from tarsd.memory import derive
from tarsd.memory.bodies import DocumentBody, MemoryBody, SummaryBody
from tarsd.memory.library import Change, record_id
from tarsd.memory.sharing import MAX_BATCH_BYTES
from tarsd.memory.store import Store
from tarsd.names import RecordId


def vector(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


async def found(store: Store, query: str, language: str = "") -> list[RecordId]:
    return [identity for identity, _ in await store.keyword_search(query, 10, language)]


# --- writing ---------------------------------------------------------------------------------------------------------


async def test_what_was_written_is_there_after_opening_again(open_store: OpenStore) -> None:
    store = await open_store()
    ids = await add_document(store, "boiler", ["The boiler was serviced in May.", "Its pressure is 1.5 bar."])
    before = await store.vector()
    await store.close()
    again = await open_store()
    assert await again.vector() == before == {again.origin: 3}
    assert [each.text for each in await again.passages(ids)] == [
        "The boiler was serviced in May.",
        "Its pressure is 1.5 bar.",
    ]
    assert await found(again, "its pressure") == [ids[1]]


async def test_writing_the_same_again_writes_nothing(store: Store) -> None:
    first = await add_document(store, "boiler", ["one", "two"])
    assert await add_document(store, "boiler", ["one", "two"]) == first
    assert (await store.counts())["records"] == 3


async def test_the_same_entry_twice_in_one_call_is_one_record(store: Store) -> None:
    one, two = await store.append_many([("passage", "", passage("x")), ("passage", "", passage("x"))])
    assert one == two


async def test_a_changed_body_takes_the_place_of_the_old_one(store: Store) -> None:
    await add_document(store, "boiler", ["same place"])
    old = await store.append("summary", "", SummaryBody("roof", "Roof", "The roof leaks."))
    new = await store.append("summary", "", SummaryBody("roof", "Roof", "The roof was mended."))
    assert new.seq == old.seq + 1
    assert [each.text for each in await store.summaries()] == ["The roof was mended."]
    assert await store.search_summaries("leaks", 5) == []
    assert [each.id for each, _ in await store.search_summaries("roof", 5)] == ["roof"]
    assert (await store.counts())["records"] == 4  # the old one stays in the log


@pytest.mark.parametrize(
    ("kind", "key", "body"),
    [
        ("passage", "document/x", passage("text")),
        ("document", "", DocumentBody("not a sha", "x.pdf")),
        ("document", "", b"\x00"),
        ("tombstone", "document/x", b"\x80"),
        ("note", "", b"no key"),
    ],
)
async def test_what_peers_would_not_read_is_not_written(
    store: Store, kind: str, key: str, body: DocumentBody | bytes
) -> None:
    with pytest.raises(InvalidInput):
        await store.append_many([("passage", "", passage("good")), (kind, key, body)])
    assert await store.vector() == {}


async def test_what_is_changed_is_seen_though_the_old_text_came_from_a_clock_a_year_ahead(
    open_store: OpenStore,
) -> None:
    store, other = await open_store(), await open_store("other.db", BOB, clock=lambda: time.time() + 366 * 86_400)
    await other.append("memory", "", MemoryBody("pin", "The gate opens at seven."))
    await store.apply(await other.records_since({}))
    await store.append("memory", "", MemoryBody("pin", "The gate opens at eight."))
    await other.apply(await store.records_since({}))
    for each in (store, other):
        memory = await each.memory("memory/pin")
        assert memory is not None
        assert memory.text == "The gate opens at eight."


async def test_a_cancelled_caller_does_not_tear_what_it_began(store: Store) -> None:
    changes: list[Change] = []
    store.subscribe(changes.append)
    entries = [("passage", "", passage(f"text {number}", page=number)) for number in range(300)]
    writing = asyncio.create_task(store.append_many(entries))
    for _ in range(3):
        await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert sum(len(change.added) for change in changes) == (await store.counts())["passages"] == 300
    await store.append("passage", "", passage("next", page=999))
    assert await store.integrity_check() == []


async def test_writers_at_once_share_one_chain(store: Store) -> None:
    await asyncio.gather(*(store.append("passage", "", passage("x", page=number)) for number in range(20)))
    assert await store.vector() == {store.origin: 20}
    assert await store.integrity_check() == []


async def test_listeners_hear_of_commits_and_cannot_break_them(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Change] = []

    def broken(change: Change) -> None:
        raise RuntimeError("a listener's own fault")

    store.subscribe(broken)
    stop = store.subscribe(heard.append)
    (identity,) = await add_document(store, "boiler", ["text"])
    await store.put_vectors("m", [(identity, vector(1, 0))])
    assert [(len(change.added), change.model) for change in heard] == [(1, ""), (1, ""), (0, "m")]
    stop()
    await store.append("passage", "", passage("more", page=9))
    assert len(heard) == 3
    assert "listener" in caplog.text


async def test_a_copy_of_another_nodes_database_writes_under_its_own_name(open_store: OpenStore) -> None:
    store = await open_store()
    await add_document(store, "boiler", ["text"])
    await store.close()
    copy = await open_store(node=BOB)
    record = await copy.append("passage", "", passage("new", page=5))
    assert record.origin.startswith(BOB)
    assert record.seq == 1


async def test_a_closed_store_says_so(open_store: OpenStore) -> None:
    store = await open_store()
    await store.close()
    with pytest.raises(StorageError, match="closed"):
        await store.document_count()
    with pytest.raises(StorageError, match="closed"):
        await store.append("passage", "", passage("x"))


# --- documents -------------------------------------------------------------------------------------------------------


async def test_a_document_is_there_whole_or_not_at_all(store: Store) -> None:
    record = await store.append("passage", "", passage("The boiler.", document="boiler"))
    identity = record_id(record.origin, record.seq)
    assert await found(store, "boiler") == []
    assert await store.passages([identity]) == []
    assert not await store.has_document(sha("boiler"))
    await store.append("document", "", DocumentBody(sha("boiler"), "boiler.pdf"))
    assert await found(store, "boiler") == [identity]
    assert (await store.passages([identity]))[0].file == "boiler.pdf"
    assert await store.has_document(sha("boiler"))


async def test_documents_are_listed_with_what_is_here_of_them(store: Store) -> None:
    await add_document(store, "boiler", ["a", "b"])
    await store.append("document", "", DocumentBody(sha("coming"), "coming.pdf", passages=7, added_at=2.0))
    assert [(each.body.file, each.body.passages, each.passages_here) for each in await store.documents()] == [
        ("coming.pdf", 7, 0),
        ("boiler.pdf", 2, 2),
    ]
    assert await store.document_count() == 2


async def test_passages_come_in_the_order_asked_without_unknown_ones(store: Store) -> None:
    ids = await add_document(store, "boiler", ["a", "b", "c"])
    asked = [ids[2], RecordId("nobody:1"), RecordId("nonsense"), ids[0], RecordId(f"{store.origin}:99")]
    assert [each.id for each in await store.passages(asked)] == [ids[2], ids[0]]


# --- keywords --------------------------------------------------------------------------------------------------------


async def test_a_question_finds_other_forms_of_its_words_in_each_language(store: Store) -> None:
    (spanish,) = await add_document(store, "es", ["La lavadora necesita dos filtros nuevos."], "es")
    (english,) = await add_document(store, "en", ["The washing machines need new filters."], "en")
    assert await found(store, "¿Cuántas lavadoras necesitan un filtro?", "es") == [spanish]
    assert (await found(store, "which machine needs a filter", "en"))[0] == english
    assert await found(store, "lavadoras") == [spanish]


async def test_accents_do_not_matter(store: Store) -> None:
    (identity,) = await add_document(store, "es", ["La garantía del jardín caducó."], "es")
    assert await found(store, "garantia JARDIN", "es") == [identity]


async def test_of_twins_the_one_in_the_questions_language_is_first(store: Store) -> None:
    (spanish,) = await add_document(store, "es", ["Vaillant ecoTEC 2026 Madrid"], "es")
    (english,) = await add_document(store, "en", ["Vaillant ecoTEC 2026 Madrid"], "en")
    assert (await found(store, "Vaillant Madrid", "es"))[0] == spanish
    assert (await found(store, "Vaillant Madrid", "en"))[0] == english


async def test_rare_words_count_more(store: Store) -> None:
    texts = [f"The house has a boiler, number {number}." for number in range(10)]
    ids = await add_document(store, "house", [*texts, "The house has a zeppelin."])
    assert (await found(store, "house zeppelin"))[0] == ids[-1]


@pytest.mark.parametrize(
    "query", ["", "   ", "?!", '"', 'x" OR stems:*', "NEAR(a b)", "a AND", "-", "*", "\0", "(" * 50]
)
async def test_no_question_is_a_syntax_error(store: Store, query: str) -> None:
    await add_document(store, "boiler", ["The boiler."])
    assert isinstance(await store.keyword_search(query, 5), list)


async def test_scores_are_positive_and_fall(store: Store) -> None:
    await add_document(store, "boiler", ["boiler boiler boiler", "boiler and words " * 5, "nothing"])
    scores = [score for _, score in await store.keyword_search("boiler", 5)]
    assert scores == sorted(scores, reverse=True)
    assert all(score > 0 for score in scores)


# --- vectors ---------------------------------------------------------------------------------------------------------


async def test_texts_without_vectors_of_a_model_are_known(store: Store) -> None:
    ids = await add_document(store, "boiler", ["a", "b", "c"])
    assert await store.put_vectors("m", [(ids[0], vector(1, 0)), (ids[2], vector(0, 1))]) == 2
    assert [each.name for each in await store.texts_without_vectors("m", 10)] == [ids[1]]
    assert [each.name for each in await store.texts_without_vectors("other", 2)] == ids[:2]


async def test_vectors_come_back_by_model_with_their_passages(store: Store) -> None:
    ids = await add_document(store, "boiler", ["a", "b"])
    await store.put_vectors("m", [(ids[0], vector(1, 0)), (ids[1], vector(0, 1))])
    await store.put_vectors("n", [(ids[0], vector(1, 2, 3))])
    async with aclosing(store.vectors("m")) as batches:
        pairs = [pair for batch in [each async for each in batches] for pair in batch.vectors]
    names = await store.names([local for local, _ in pairs])
    assert [(names[local], data) for local, data in pairs] == [(ids[0], vector(1, 0)), (ids[1], vector(0, 1))]
    assert (await store.counts())["vectors"] == {"m": 2, "n": 1}


async def test_a_vector_put_again_comes_again(store: Store) -> None:
    ids = await add_document(store, "boiler", ["a"])
    await store.put_vectors("m", [(ids[0], vector(1, 0))])
    after = await store.newest_vector("m")
    await store.put_vectors("m", [(ids[0], vector(0, 1))])
    async with aclosing(store.vectors("m", after)) as batches:
        assert [data for batch in [each async for each in batches] for _, data in batch.vectors] == [vector(0, 1)]


@pytest.mark.parametrize("wrong", [b"", b"123", vector(1, 2, 3)])
async def test_vectors_of_another_dimension_are_refused(store: Store, wrong: bytes) -> None:
    ids = await add_document(store, "boiler", ["a", "b"])
    await store.put_vectors("m", [(ids[0], vector(1, 0))])
    with pytest.raises(InvalidInput, match="2 float32"):
        await store.put_vectors("m", [(ids[1], wrong)])


async def test_the_vectors_of_a_model_can_be_dropped(store: Store) -> None:
    ids = await add_document(store, "boiler", ["a"])
    await store.put_vectors("m", [(ids[0], vector(1, 0))])
    await store.forget_model("m")
    assert (await store.counts())["vectors"] == {}
    assert await store.put_vectors("m", [(ids[0], vector(1, 2, 3))]) == 1


# --- upkeep ----------------------------------------------------------------------------------------------------------


async def test_a_sound_store_has_no_problems(store: Store) -> None:
    await add_document(store, "boiler", ["a", "b"])
    assert await store.integrity_check() == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE log SET body = x'00' WHERE seq = 2", "seal"),
        ("UPDATE log SET prev_sha = zeroblob(32), sha = sha WHERE seq = 2", "seal"),
        ("DELETE FROM log WHERE seq = 1", "chain is broken"),
        ("DELETE FROM visible", "wrong record"),
        ("DELETE FROM keywords WHERE rowid = 1", "1 texts indexed of 2"),
    ],
)
async def test_damage_is_found(store: Store, damage: str, problem: str) -> None:
    await add_document(store, "boiler", ["a", "b"])
    async with store._database.writing():
        await store._database.run(damage)
    assert any(problem in line for line in await store.integrity_check())


async def test_all_that_derives_can_be_built_anew(store: Store) -> None:
    ids = await add_document(store, "boiler", ["The boiler", "its pressure"])
    await store.put_vectors("m", [(ids[0], vector(1, 0))])
    await store.append("summary", "", SummaryBody("s", "Boiler", "It works."))
    before = await store.counts()
    async with store._database.writing():
        for table in ("visible", "documents", "passages", "summaries", "keywords"):
            await store._database.run(f"DELETE FROM {table}")
    await store.rebuild_derived()
    assert await store.integrity_check() == []
    assert {**await store.counts(), "bytes": 0} == {**before, "bytes": 0}
    assert await found(store, "pressure") == [ids[1]]


async def test_a_change_in_deriving_rebuilds_at_the_next_start(open_store: OpenStore) -> None:
    store = await open_store()
    (identity,) = await add_document(store, "boiler", ["The boiler"])
    async with store._database.writing():
        await store._database.run("UPDATE meta SET value = 'older' WHERE name = 'derived'")
        await store._database.run("DELETE FROM keywords")
    await store.close()
    assert await found(await open_store(), "boiler") == [identity]


# --- for peers -------------------------------------------------------------------------------------------------------


async def test_records_come_in_order_up_to_the_limit(store: Store) -> None:
    await add_document(store, "boiler", [str(number) for number in range(5)])
    first = await store.records_since({}, 4)
    rest = await store.records_since({store.origin: first[-1].seq}, 100)
    assert [each.seq for each in [*first, *rest]] == [1, 2, 3, 4, 5, 6]
    assert await store.records_since(await store.vector()) == []


async def test_a_batch_of_large_records_fits_a_frame(store: Store) -> None:
    entries = [("note", f"note/{number}", bytes(900_000)) for number in range(6)]
    await store.append_many(entries)
    have: dict[str, int] = {}
    batches: list[list[Record]] = []
    while batch := await store.records_since(have):
        batches.append(batch)
        have[store.origin] = batch[-1].seq
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert all(sum(len(each.body) for each in batch) <= MAX_BATCH_BYTES for batch in batches)
    assert ANA in store.origin


async def test_current_memories_and_summaries_are_found_by_words_in_one_pass_and_passages_are_not(store: Store) -> None:
    await add_document(store, "boiler", ["the boiler leaks"])
    await store.append("memory", "", MemoryBody("m1", "Ana repaired the boiler", language="en"))
    await store.append("memory", "", MemoryBody("m2", "the boiler is old", language="en", replaced_by="memory/m1"))
    await store.append(
        "summary", "", SummaryBody("s1", "House", "a long talk of the roof and the boiler", language="en")
    )
    found = await store.recollections_by_keywords("boiler", 5, "en")
    assert [each.key for each in found] == ["memory/m1", "summary/s1"]
    assert [each.key for each in await store.recollections_by_keywords("roof", 5, "en")] == ["summary/s1"]
    assert await store.recollections_by_keywords("?", 5) == []


async def test_what_is_taken_in_again_is_there_though_a_clock_a_year_ahead_forgot_it(open_store: OpenStore) -> None:
    store = await open_store("ana")
    ahead = await open_store("bob", BOB, clock=lambda: time.time() + 365 * 86_400)
    await add_document(store, "doc", ["the wine is in the cellar"])
    await ahead.apply(await store.records_since({}))
    await ahead.forget_document(sha("doc"))
    await store.apply(await ahead.records_since(await store.vector()))
    await add_document(store, "doc", ["the wine is in the cellar"])
    assert [entry.body.sha256 for entry in await store.documents()] == [sha("doc")]
    assert len(await found(store, "wine")) == 1


async def test_building_anew_that_was_cut_off_is_done_again_at_the_next_start(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    await add_document(store, "doc", ["the wine is in the cellar"])

    async def is_killed(*of: object) -> None:
        raise StorageError("the disk went")

    with monkeypatch.context() as patch:
        patch.setattr(derive, "refresh", is_killed)
        with pytest.raises(StorageError):
            await store.rebuild_derived()
    await store.close()
    assert len(await found(await open_store(), "wine")) == 1


async def test_a_store_writes_on_wherever_its_upkeep_was_cancelled(store: Store) -> None:
    for ticks in range(40):
        upkeep = asyncio.create_task(store.optimize())
        for _ in range(ticks):
            await asyncio.sleep(0)
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
        await store.append("memory", "", MemoryBody(f"m{ticks}", "text"))
    assert len(await store.records_since({})) == 40
