"""The hub's files over its plain HTTP, against a stand-in that answers and misbehaves as the real one may."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tarsd.errors import InvalidInput, NotAllowed, NotFound, Overloaded, Unavailable
from tarsd.models.hub import Hub
from tarsd.models.sources import HubFile
from tests.models.hub_stand_in import TOKEN, StandInHub, stand_in_hub
from tests.models.model_files import gguf_bytes, sha256

DATA = gguf_bytes(size=2_500_000)
FILE = HubFile("a", "b", "m.gguf")


@pytest.fixture
async def hub() -> AsyncGenerator[StandInHub, None]:
    async with stand_in_hub(StandInHub({"a/b/m.gguf": DATA})) as running:
        yield running


async def read(hub: Hub, offset: int = 0) -> bytes:
    return b"".join([chunk async for chunk in hub.read(FILE, offset)])


async def test_size_and_hash_are_told_and_the_bytes_follow_the_redirect(hub: StandInHub) -> None:
    facts = await Hub(hub.url).look(FILE)
    assert (facts.sha256, facts.size_bytes) == (sha256(DATA), len(DATA))
    assert await read(Hub(hub.url)) == DATA


@pytest.mark.parametrize("ignores_range", [False, True])
async def test_it_goes_on_from_any_offset(hub: StandInHub, ignores_range: bool) -> None:
    hub.ignores_range = ignores_range
    assert await read(Hub(hub.url), 2_000_001) == DATA[2_000_001:]
    assert hub.asked[-1][2] == "bytes=2000001-"


async def test_a_renamed_repository_is_followed(hub: StandInHub) -> None:
    hub.moved = {"old/name": "a/b"}
    moved = HubFile("old", "name", "m.gguf")
    assert (await Hub(hub.url).look(moved)).size_bytes == len(DATA)
    assert b"".join([chunk async for chunk in Hub(hub.url).read(moved, 0)]) == DATA


async def test_a_repository_that_moves_in_circles_is_given_up(hub: StandInHub) -> None:
    hub.moved = {"a/b": "a/b"}
    with pytest.raises(Unavailable, match="circles"):
        await Hub(hub.url).look(FILE)


async def test_the_token_is_for_the_hub_alone(hub: StandInHub, tmp_path: Path) -> None:
    hub.private = True
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    mine = Hub(hub.url, tmp_path / "token")
    assert (await mine.look(FILE)).size_bytes == len(DATA)
    assert await read(mine) == DATA
    assert hub.tokens_at_cdn == [""]


async def test_what_a_person_must_do_is_said(hub: StandInHub, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file a/b/absent\.gguf"):
        await Hub(hub.url).look(HubFile("a", "b", "absent.gguf"))
    hub.private = True
    with pytest.raises(NotAllowed, match="hub_token_file"):
        await Hub(hub.url).look(FILE)
    with pytest.raises(NotAllowed, match="cannot be read"):
        await Hub(hub.url, tmp_path / "none").look(FILE)
    hub.pause_s = "17"
    with pytest.raises(Overloaded, match="17 s") as refused:
        await Hub(hub.url).look(FILE)
    assert refused.value.retry_after_s == 17


@pytest.mark.parametrize("pause", ["inf", "nan", "-3", "Sat, 28 Nov 2026 13:00:00 GMT"])
async def test_a_pause_that_is_no_number_is_a_minute(hub: StandInHub, pause: str) -> None:
    hub.pause_s = pause
    with pytest.raises(Overloaded) as refused:
        await Hub(hub.url).look(FILE)
    assert refused.value.retry_after_s == 60


async def test_a_cut_connection_is_told(hub: StandInHub) -> None:
    hub.cut_after = [1 << 20]
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await read(Hub(hub.url))


async def test_a_hub_that_is_not_there_is_told() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await Hub("http://127.0.0.1:9").look(FILE)
    with pytest.raises(InvalidInput, match=r"models\.hub"):
        await Hub("nowhere").look(FILE)


async def test_a_service_that_may_not_reach_the_internet_says_how_to_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def closed(*args: object, **options: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))  # what systemd's IPAddressDeny makes of a connection

    monkeypatch.setattr("aiohttp.TCPConnector.connect", closed)
    with pytest.raises(Unavailable, match=r"household's networks only.*tarsd\.toml"):
        await read(Hub("https://hub.example", None))
