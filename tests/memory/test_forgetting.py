from __future__ import annotations

from pathlib import Path

import pytest
from memory_help import ANA, BOB, OpenStore, add_document, sha
from test_store import vector
from test_store_peers import everything, state

from tarsd.errors import NotFound
from tarsd.memory.bodies import SummaryBody
from tarsd.memory.forgetting import Forgotten
from tarsd.memory.hlc import stamp
from tarsd.memory.log import EMPTY, make
from tarsd.memory.store import SCRUB_DUE, Store

CANARY = "Xylophonkanarie"
STEM = b"ylophonkanar"  # what is left of it in any index
TEXTS = [f"The {CANARY} sings in room {number}, for {CANARY} 's sake." for number in range(40)]
OTHERS = [f"The boiler number {number} hums quietly." for number in range(200)]


def files_with(folder: Path, what: bytes) -> list[str]:
    return [path.name for path in folder.iterdir() if what.lower() in path.read_bytes().lower()]


async def fill(store: Store) -> None:
    await add_document(store, "others", OTHERS)
    ids = await add_document(store, f"secret-{CANARY}", TEXTS)
    await store.put_vectors("m", [(identity, vector(0.25, 0.5)) for identity in ids])
    await add_document(store, "more", OTHERS[:50])


async def test_no_byte_of_the_text_is_left_in_any_file(store: Store, tmp_path: Path) -> None:
    await fill(store)
    assert files_with(tmp_path, STEM)
    receipt = await store.forget_document(sha(f"secret-{CANARY}"))
    assert receipt.records == len(TEXTS) + 1
    assert len(receipt.tombstones) == 1
    assert files_with(tmp_path, STEM) == []  # while it is open, WAL included
    await store.close()
    assert files_with(tmp_path, STEM) == []


async def test_the_keyword_index_is_cleaned_in_many_small_steps_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsd.memory.store._MERGE_PAGES", 1)
    await fill(store)
    many = [
        " ".join(sha(f"{page} {number}") for number in range(20)) for page in range(300)
    ]  # a hundred pages of words
    await add_document(store, "many", many)
    await store.forget_document(sha(f"secret-{CANARY}"))
    assert files_with(tmp_path, STEM) == []


async def test_nothing_of_it_is_found_and_the_rest_is(store: Store) -> None:
    await fill(store)
    await store.forget_document(sha(f"secret-{CANARY}"))
    assert await store.keyword_search(CANARY, 5) == []
    assert not await store.has_document(sha(f"secret-{CANARY}"))
    counts = await store.counts()
    assert (counts["documents"], counts["passages"], counts["vectors"]) == (2, 250, {})
    assert len(await store.keyword_search("boiler", 500)) == 250
    assert await store.integrity_check() == []


async def test_peers_obey_to_the_last_byte(open_store: OpenStore, tmp_path: Path) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await fill(ana)
    await bob.apply(await everything(ana))
    await ana.forget_document(sha(f"secret-{CANARY}"))
    await bob.apply(await ana.records_since(await bob.vector()))
    assert files_with(tmp_path, STEM) == []
    assert await state(bob) == await state(ana)


async def test_a_replica_that_still_has_it_brings_nothing_back(open_store: OpenStore, tmp_path: Path) -> None:
    ana, bob, carl = await open_store("ana"), await open_store("bob", BOB), await open_store("carl", "c" * 32)
    await fill(ana)
    await bob.apply(await everything(ana))
    await ana.forget_document(sha(f"secret-{CANARY}"))
    tombstone = (await ana.records_since({ana.origin: (await ana.vector())[ana.origin] - 1}))[0]
    # Carl hears of the tombstone first, and of the text from Bob, who was away.
    await carl.apply([tombstone])
    await carl.apply(await everything(bob))
    assert files_with(tmp_path, STEM) == ["bob.db"] or files_with(tmp_path, STEM) == ["bob.db-wal"]
    assert await state(carl) == await state(ana)


async def test_a_new_node_gets_the_chain_without_the_text(open_store: OpenStore) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await fill(ana)
    await ana.forget_document(sha(f"secret-{CANARY}"))
    records = await everything(ana)
    assert not any(CANARY.encode() in record.body for record in records)
    assert (await bob.apply(records)).quarantined == []
    assert await state(bob) == await state(ana)


async def test_text_that_waits_for_its_predecessor_is_forgotten_too(open_store: OpenStore, tmp_path: Path) -> None:
    ana, bob = await open_store("ana"), await open_store("bob", BOB)
    await add_document(ana, "secret", TEXTS)
    records = await everything(ana)
    await bob.apply(records[1:])
    await bob.forget_document(sha("secret"))
    await ana.close()
    (tmp_path / "ana.db").unlink()
    assert files_with(tmp_path, STEM) == []
    await bob.apply(records[:1])
    assert await bob.keyword_search(CANARY, 5) == []
    assert await bob.document_count() == 0
    assert files_with(tmp_path, STEM) == []


async def test_text_that_waits_is_forgotten_by_a_peers_tombstone_too(open_store: OpenStore, tmp_path: Path) -> None:
    ana, bob, carl = await open_store("ana"), await open_store("bob", BOB), await open_store("carl", "c" * 32)
    await add_document(ana, "secret", TEXTS)
    records = await everything(ana)
    await carl.apply(records[1:])
    await bob.apply(records)
    await bob.forget_document(sha("secret"))
    await carl.apply(await bob.records_since({ana.origin: len(records)}))
    await ana.close()
    (tmp_path / "ana.db").unlink()
    assert files_with(tmp_path, STEM) == []


async def test_vectors_that_come_after_forgetting_are_not_kept(store: Store) -> None:
    ids = await add_document(store, "secret", TEXTS)
    await store.forget_document(sha("secret"))
    assert await store.put_vectors("m", [(ids[0], vector(1, 0))]) == 0
    assert (await store.counts())["vectors"] == {}


async def test_what_is_taken_in_again_later_is_there_again(store: Store) -> None:
    await add_document(store, "secret", TEXTS)
    await store.forget_document(sha("secret"))
    await add_document(store, "secret", TEXTS)
    assert len(await store.keyword_search(CANARY, 100)) == len(TEXTS)


async def test_forgetting_reaches_a_record_whose_clock_is_far_ahead(open_store: OpenStore) -> None:
    store = await open_store(clock=lambda: 1000.0)
    await store.apply([make("node.1", EMPTY, stamp(10**12), "note", "note/1", CANARY.encode())])
    receipt = await store.forget("note/1")
    assert receipt.records == 1
    assert receipt.tombstones[0].hlc > stamp(10**12)


async def test_forgetting_twice_writes_one_tombstone(store: Store) -> None:
    await add_document(store, "secret", TEXTS)
    await store.forget_document(sha("secret"))
    receipt = await store.forget_document(sha("secret"))
    assert (receipt.tombstones, receipt.records) == ([], 0)


async def test_what_was_never_known_cannot_be_forgotten(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.forget_document(sha("nothing"))


async def test_a_forgetting_that_was_cut_off_is_ended_at_the_next_start(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store()
    await fill(store)
    await store._writer.forget(f"document/{sha(f'secret-{CANARY}')}")  # the tombstone is written, and then: power cut
    await store.close()
    assert files_with(tmp_path, STEM)
    store = await open_store()
    assert files_with(tmp_path, STEM) == []
    async with store._database.reading():
        assert await store._database.rows("SELECT 1 FROM meta WHERE name = ?", (SCRUB_DUE,)) == []


async def test_the_receipt_names_damaged_copies_that_may_still_hold_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "store.db.corrupt-20260101T000000").write_bytes(b"?")
    await add_document(store, "secret", TEXTS)
    receipt = await store.forget_document(sha("secret"))
    assert receipt.damaged_copies == ["store.db.corrupt-20260101T000000"]
    assert ANA in store.origin


async def test_many_keys_are_forgotten_and_what_goes_on_is_written_in_one_commit(store: Store, tmp_path: Path) -> None:
    heard: list[Forgotten] = []
    store.on_forgotten(heard.append)
    await add_document(store, "secret", TEXTS)
    await store.append("summary", "", SummaryBody("s", "Talk", f"It rained. The {CANARY} sings."))
    keys = [f"document/{sha('secret')}", "summary/s", "memory/unknown"]
    receipt = await store.forget_all(keys, [("summary", "", SummaryBody("s", "Talk", "It rained."))])
    assert [record.kind for record in receipt.tombstones] == ["tombstone"] * 3 + ["summary"]
    assert receipt.records == len(TEXTS) + 2
    assert files_with(tmp_path, STEM) == []
    assert [body.text for body in await store.summaries()] == ["It rained."]
    (forgotten,) = heard
    assert forgotten.graves == tuple(keys)
    # passages are nobody's to tell, and the summary goes on: only the document is told of
    assert [text.kind for text in forgotten.texts] == ["document"]
    assert store.removed(keys).records == len(TEXTS) + 2
    assert store.removed(["summary/s"]).keywords == 1
    assert await store.integrity_check() == []


async def test_an_erasure_that_comes_during_a_cleaning_is_cleaned_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_document(store, "secret", TEXTS)
    await add_document(store, "other", OTHERS)
    shrink = store._shrink

    async def erased_meanwhile() -> None:
        monkeypatch.setattr(store, "_shrink", shrink)
        await store._writer.forget(f"document/{sha('secret')}")
        await shrink()

    monkeypatch.setattr(store, "_shrink", erased_meanwhile)
    await store.forget_document(sha("other"))
    await store.scrub()
    assert files_with(tmp_path, STEM) == []
