"""Search: keywords work without the model, and what was found is kept until anything is written."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tarsd import calls
from tarsd.calls import SearchItem, SearchRequest
from tarsd.errors import InvalidInput
from tarsd.memory.bodies import DOCUMENT, PASSAGE, DocumentBody, PassageBody
from tarsd.memory.store import Store
from tarsd.roles.processing import Processing
from tests.roles.role_help import ME, one, services

SHA = "a" * 64


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    opened = await Store.open(tmp_path / "m.db", ME)
    await opened.append(PASSAGE, "", PassageBody(SHA, 2, 0, 22, "The rent is 900 euros.", "en"))
    await opened.append(DOCUMENT, "", DocumentBody(SHA, "lease.pdf", pages=3, passages=1))
    yield opened
    await opened.close()


async def search(role: Processing, query: str, limit: int = 5) -> SearchItem:
    item = await one(role.handlers()[calls.SEARCH.name], SearchRequest(query, limit))
    assert isinstance(item, SearchItem)
    return item


async def test_without_the_model_keywords_find_and_the_answer_says_so(store: Store, tmp_path: Path) -> None:
    found = await search(Processing(services(store, None, [], data_dir=tmp_path)), "How much is the rent?")
    assert [(hit.passage.file, hit.passage.page, hit.found_by) for hit in found.hits] == [
        ("lease.pdf", 2, ["keywords"])
    ]
    assert found.degraded.startswith("vectors: ")


@pytest.mark.parametrize(("query", "limit", "field"), [(" ", 5, "query"), ("rent", 0, "limit"), ("rent", 101, "limit")])
async def test_a_wrong_search_is_refused_by_field(
    store: Store, tmp_path: Path, query: str, limit: int, field: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}"):
        await search(Processing(services(store, None, [], data_dir=tmp_path)), query, limit)


async def test_degraded_findings_are_not_kept(store: Store, tmp_path: Path) -> None:
    role = Processing(services(store, None, [], data_dir=tmp_path))
    await search(role, "rent")
    await search(role, "rent")
    assert role.status()["cache"]["calls"] == {"search": {"hits": 0, "misses": 2, "hit_rate": 0.0}}
