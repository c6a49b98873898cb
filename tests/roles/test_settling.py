"""What persons settle for themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tarsd import calls
from tarsd.calls import SaveSettingsRequest, SettingsRequest, Who
from tarsd.memory.store import Store
from tarsd.names import NodeId
from tarsd.roles.settling import Settling
from tests.roles.role_help import ME, one, services

ANA, NOBODY = Who("ana"), Who("")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "m.db", ME)
    yield opened
    await opened.close()


async def settled(store: Store, who: Who, automatic: bool | None = None) -> bool:
    handlers = Settling(services(store, None, [])).handlers()
    if automatic is not None:
        await one(handlers[calls.SAVE_SETTINGS.name], SaveSettingsRequest(who, automatic))
    item: calls.SettingsItem = await one(handlers[calls.SETTINGS.name], SettingsRequest(who))
    assert item.person == who.person
    return item.automatic


async def test_who_never_said_otherwise_is_learned_about(store):
    assert await settled(store, ANA)
    assert await store.automatic("ana")


async def test_a_person_switches_it_off_and_on_for_itself_alone(store):
    assert not await settled(store, ANA, automatic=False)
    assert await settled(store, NOBODY)
    assert not await store.automatic("ana")
    assert await store.automatic("")
    assert await settled(store, ANA, automatic=True)
    assert not await settled(store, NOBODY, automatic=False)
    assert await store.automatic("ana")


async def test_nothing_named_changes_nothing(store):
    await settled(store, ANA, automatic=False)
    before = await store.vector()
    handlers = Settling(services(store, None, [])).handlers()
    item = await one(handlers[calls.SAVE_SETTINGS.name], SaveSettingsRequest(ANA))
    assert not item.automatic
    assert await store.vector() == before


async def test_it_holds_on_every_node_that_has_the_records(store, tmp_path):
    await settled(store, ANA, automatic=False)
    other = await Store.open(tmp_path / "other.db", NodeId("b" * 32))
    await other.apply(await store.records_since({}))
    assert not await other.automatic("ana")
    assert await other.integrity_check() == []
    await other.close()
