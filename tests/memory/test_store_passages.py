"""That a passage keeps its own document's name, in whatever order passages are asked for."""

from pathlib import Path

from tarsd.memory.bodies import DOCUMENT, PASSAGE, DocumentBody, PassageBody
from tarsd.memory.store import Store
from tarsd.names import NodeId, RecordId


async def test_each_passage_comes_with_the_name_of_its_own_document(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "memory.db", NodeId("a" * 32))
    try:
        wanted = {}
        for n in range(4):
            sha = f"{n}" * 64
            texts = [f"passage {n} {m}" for m in range(3)]
            records = await store.append_many(
                [(PASSAGE, "", PassageBody(sha, m, m * 10, m * 10 + 9, text)) for m, text in enumerate(texts)]
            )
            await store.append(DOCUMENT, "", DocumentBody(sha, f"{n}.txt"))
            wanted |= {RecordId(f"{r.origin}:{r.seq}"): (f"{n}.txt", t) for r, t in zip(records, texts, strict=True)}
        ids = list(reversed(wanted))
        assert [(p.file, p.text) for p in await store.passages(ids)] == [wanted[i] for i in ids]
    finally:
        await store.close()
