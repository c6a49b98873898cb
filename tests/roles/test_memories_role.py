"""What people remember on purpose: saving, showing, searching and projects, each on behalf of a person."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import (
    Copies,
    MemoriesItem,
    MemoriesRequest,
    ProjectsRequest,
    SaveItem,
    SaveProjectRequest,
    SaveRequest,
    SearchMemoriesItem,
    Who,
)
from tarsd.config.schema import Memory
from tarsd.errors import InvalidInput, NotAllowed, NotFound, PeerLost
from tarsd.memory.bodies import SETTING, DocumentBody, MemoryBody, SettingBody, Source, SummaryBody
from tarsd.memory.store import Store
from tarsd.names import ConversationId
from tarsd.roles.memories import Memories
from tests.roles.role_help import ME, one, services
from tests.roles.test_orchestrator import ScriptedPeer
from tests.test_routing import member

ANA, LEO = Who("ana"), Who("leo")


class House:
    """The role over a real store; `peer` answers what it asks of others."""

    def __init__(self, store: Store, peer: ScriptedPeer) -> None:
        able = [member("b", capabilities={calls.SEARCH_MEMORIES.name: {}})] if peer.answers else []
        self.store = store
        self.peer = peer
        self.confirmed: list[int] = []
        given = services(store, peer, able)
        object.__setattr__(given, "confirm", self._confirm)
        self._handlers = Memories(given).handlers()

    async def _confirm(self, records: Any) -> Copies:
        self.confirmed.append(len(records))
        return Copies(2, 2)

    async def save(self, text: str, who: Who = ANA, **more: Any) -> SaveItem:
        return await one(self._handlers[calls.SAVE.name], SaveRequest(who, text, **more))

    async def show(self, who: Who = ANA, **more: Any) -> MemoriesItem:
        return await one(self._handlers[calls.MEMORIES.name], MemoriesRequest(who, **more))

    async def texts(self, who: Who = ANA, **more: Any) -> list[str]:
        return [each.text for each in (await self.show(who, **more)).memories]

    async def begin(self, name: str, who: Who = ANA, **more: Any) -> calls.Project:
        item = await one(self._handlers[calls.SAVE_PROJECT.name], SaveProjectRequest(who, name, **more))
        return item.project

    async def projects(self, who: Who = ANA) -> list[calls.Project]:
        return (await one(self._handlers[calls.PROJECTS.name], ProjectsRequest(who))).projects


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    opened = await Store.open(tmp_path / "m.db", ME)
    yield opened
    await opened.close()


@pytest.fixture
def house(store: Store) -> House:
    return House(store, ScriptedPeer())


async def test_what_is_saved_is_written_with_all_that_is_found_in_it(house: House) -> None:
    item = await house.save("La caldera se revisó el 4 de mayo de 2026", conversation=ConversationId("c"), answer="a")
    body = await house.store.memory(item.memory.key)
    assert body is not None
    assert (body.language, body.dates, body.person, body.made_by) == ("es", ["2026-05-04"], "ana", "person")
    assert "mayo" in body.keywords
    assert body.made_at > 0
    assert len(body.salt) == 16
    assert (body.sources[0].conversation, body.sources[0].answer) == ("c", "a")
    assert item.memory.evidence[0].conversation == "c"
    assert item.is_new
    assert (item.copies, house.confirmed) == (Copies(2, 2), [1])


async def test_the_same_text_is_not_written_again(house: House) -> None:
    first = await house.save("The key is under the pot.")
    again = await house.save("  the key is under the  pot")
    assert (again.is_new, again.memory.key) == (False, first.memory.key)
    assert house.confirmed == [1]
    assert (await house.show()).total == 1


async def test_nothing_is_learned_where_that_is_switched_off(store: Store) -> None:
    given = services(store, ScriptedPeer(), [])
    off = msgspec.structs.replace(given.config, memory=Memory(automatic=False))
    object.__setattr__(given, "config", off)
    save = Memories(given).handlers()[calls.SAVE.name]
    with pytest.raises(NotAllowed, match="automatic"):
        await one(save, SaveRequest(ANA, "My son is called Leo", made_by="automatic"))
    assert (await one(save, SaveRequest(ANA, "My son is called Leo"))).is_new


async def test_who_switched_it_off_is_not_learned_about_whatever_the_others_want(house: House) -> None:
    await house.store.append(SETTING, "", SettingBody("automatic", "ana", value=False))
    with pytest.raises(NotAllowed, match="automatic"):
        await house.save("My son is called Leo", made_by="automatic")
    assert (await house.save("My son is called Leo", LEO, made_by="automatic")).is_new


async def test_the_letters_of_a_password_make_another_text(house: House) -> None:
    await house.save("The wifi password is Hunter2")
    assert (await house.save("The wifi password is hunter2")).is_new


@pytest.mark.parametrize("more", [{"scope": "person"}, {"who": LEO, "scope": "person"}, {"sort": "preference"}])
async def test_the_same_text_elsewhere_is_another_memory(house: House, more: dict[str, Any]) -> None:
    await house.save("Tea in the morning")
    assert (await house.save("Tea in the morning", **more)).is_new


async def test_a_later_memory_takes_the_place_of_what_it_contradicts(house: House) -> None:
    old = await house.save("La contraseña del wifi es perro42")
    new = await house.save("La contraseña del wifi es gato43")
    assert [each.key for each in new.contradicts] == [old.memory.key]
    assert new.memory.contradicts == [old.memory.key]
    assert house.confirmed == [1, 2]
    assert await house.texts() == ["La contraseña del wifi es gato43"]
    history = (await house.show(history=True)).memories
    assert [each.is_current for each in history] == [True, False]
    assert history[0].contradicts == [old.memory.key]
    assert (history[1].replaced_by, history[1].replaced_why) == (new.memory.key, "contradicted")
    assert history[1].valid_until == history[0].valid_from > 0


async def test_a_persons_memory_takes_the_place_of_no_other_persons(house: House) -> None:
    await house.save("Mi móvil es 600100200", scope="person")
    assert (await house.save("Mi móvil es 600100201", LEO, scope="person")).contradicts == []
    assert (await house.save("Mi móvil es 600100203")).contradicts == []


async def test_a_later_wish_takes_the_place_of_the_earlier(house: House) -> None:
    await house.save("Llámame Ana", sort="preference", scope="person")
    later = await house.save("Call me Annie", sort="preference", scope="person")
    assert [each.text for each in later.contradicts] == ["Llámame Ana"]


async def test_a_memory_can_be_corrected(house: House) -> None:
    key = (await house.save("The key is under the pot")).memory.key
    item = await house.save("The key is under the mat", key=key, tags=["door"])
    assert (item.is_new, item.memory.key, item.memory.tags) == (False, key, ["door"])
    assert await house.texts() == ["The key is under the mat"]


async def test_a_summary_can_be_corrected(house: House) -> None:
    await house.store.append("summary", "", SummaryBody("s", "Roof", "It leaks.", language="en"))
    await house.save("It leaked.", key="summary/s")
    assert await house.texts() == ["It leaked."]


async def test_what_a_person_may_not_see_does_not_exist_for_it(house: House) -> None:
    key = (await house.save("My PIN is in the drawer", scope="person")).memory.key
    assert await house.texts(LEO) == []
    assert await house.texts(LEO, key=key) == []
    assert await house.texts(LEO, query="PIN drawer") == []
    with pytest.raises(NotFound, match="key"):
        await house.save("mine now", LEO, key=key)
    assert await house.texts(Who("eva", sees_all=True), key=key) == ["My PIN is in the drawer"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"text": "  "}, "text"),
        ({"text": "x" * 4001}, "text"),
        ({"text": "x", "tags": ["t" * 65]}, "tags"),
        ({"text": "x", "scope": "project"}, "project"),
    ],
)
async def test_bad_input_is_named(house: House, more: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        await house.save(**more)


async def test_a_memory_is_given_only_to_a_project_of_the_persons_own(house: House) -> None:
    roof = await house.begin("Roof", members=["ana"])
    await house.save("Tiles cost 900 euros", scope="project", project=roof.id)
    with pytest.raises(NotFound, match="project"):
        await house.save("Mine", LEO, scope="project", project=roof.id)
    with pytest.raises(NotFound, match="project"):
        await house.save("Mine", scope="project", project="gone")
    assert (await house.texts(LEO), await house.texts(project=roof.id)) == ([], ["Tiles cost 900 euros"])


async def test_a_query_gives_the_best_first_as_the_search_ranks_them(store: Store) -> None:
    peer = ScriptedPeer()
    peer.answers = {"search_memories": None}
    house = House(store, peer)
    keys = [(await house.save(text)).memory.key for text in ("The key is blue", "Keys hang here", "Leo's key")]
    others = (await house.save("Leo's own key", LEO, scope="person")).memory.key
    peer.answers["search_memories"] = SearchMemoriesItem([(keys[2], 0.9), (others, 0.8), (keys[0], 0.5)])
    item = await house.show(query="key")
    assert [each.key for each in item.memories] == [keys[2], keys[0], keys[1]]
    assert (item.memories[0].score, item.total, item.degraded) == (0.9, 3, "")
    assert await house.texts(query="key", limit=1, offset=1) == ["The key is blue"]
    assert await house.texts(query="key", sort="preference") == []
    assert await house.texts(query="key", kinds=("summary",)) == []


async def test_without_a_search_by_meaning_keywords_find_and_it_is_told(house: House) -> None:
    await house.save("Las llaves están bajo la maceta")
    item = await house.show(query="¿dónde está la llave?")
    assert [each.text for each in item.memories] == ["Las llaves están bajo la maceta"]
    assert "keywords" in item.degraded


async def test_a_search_that_fails_is_told(store: Store) -> None:
    house = House(store, ScriptedPeer(search_memories=PeerLost("gone")))
    await house.save("The key is blue")
    item = await house.show(query="key")
    assert (len(item.memories), "gone" in item.degraded) == (1, True)


async def test_evidence_names_the_document(house: House) -> None:
    await house.store.append("document", "", DocumentBody("a" * 64, "lease.pdf"))
    await house.store.append("memory", "", MemoryBody("m", "Rent 900", sources=[Source(document="a" * 64, at=5.0)]))
    (evidence,) = (await house.show(key="memory/m")).memories[0].evidence
    assert (evidence.file, evidence.at) == ("lease.pdf", 5.0)


async def test_pages_are_bounded(house: House) -> None:
    await house.save("a")
    await house.save("b")
    item = await house.show(limit=1, offset=1)
    assert ([each.text for each in item.memories], item.total) == (["a"], 2)
    assert (await house.show(limit=-3, offset=-2)).memories == []


async def test_a_project_begins_goes_on_and_ends(house: House) -> None:
    roof = await house.begin(" Roof ", text="New tiles", members=["ana", "ana"], tags=["house"])
    assert (roof.name, roof.members, roof.ended_at) == ("Roof", ["ana"], 0.0)
    assert roof.began_at > 0
    await house.save("Tiles cost 900 euros", scope="project", project=roof.id)
    ended = await house.begin("The roof", id=roof.id, is_ended=True)
    assert (ended.began_at, ended.memories) == (roof.began_at, 1)
    assert ended.ended_at > 0
    assert [each.name for each in await house.projects()] == ["The roof"]
    assert (await house.begin("The roof", id=roof.id)).ended_at == 0.0


async def test_a_project_is_its_members(house: House) -> None:
    roof = await house.begin("Roof", members=["ana"])
    assert await house.projects(LEO) == []
    with pytest.raises(NotFound, match="id"):
        await house.begin("Mine", LEO, id=roof.id)
    with pytest.raises(InvalidInput, match="name"):
        await house.begin(" ")


async def test_what_is_forgotten_while_another_takes_its_place_is_not_written_again_as_history(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (await house.save("Ana's phone number is 555 1234")).memory.key
    plain = house.store.append_as_read

    async def forgotten_first(entries: Any, read: Any) -> Any:
        assert list(read) == [old]
        monkeypatch.undo()
        await house.store.forget(old)
        return await plain(entries, read)

    monkeypatch.setattr(house.store, "append_as_read", forgotten_first)
    item = await house.save("Ana's phone number is 555 9876")
    assert item.contradicts == []
    assert await house.store.memory(old) is None
    assert await house.texts(history=True) == ["Ana's phone number is 555 9876"]
    monkeypatch.setattr(house.store, "append_as_read", forgetting(house.store, item.memory.key))
    with pytest.raises(NotFound):
        await house.save("Ana's phone number is 555 0000", key=item.memory.key)
    assert await house.texts(history=True) == []


def forgetting(store: Store, key: str) -> Any:
    plain = store.append_as_read

    async def forgotten_first(entries: Any, read: Any) -> Any:
        await store.forget(key)
        return await plain(entries, read)

    return forgotten_first
