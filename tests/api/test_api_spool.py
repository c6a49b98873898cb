"""The spool of uploads, by itself."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import aiohttp
import pytest

from tarsd.api.replies import TooLarge
from tarsd.api.spool import Spool
from tarsd.errors import StorageError


class ScriptedBody(aiohttp.StreamReader):
    """A body that is there from the start, or never ends."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = [*chunks, b""]
        self.reads = 0

    async def readany(self) -> bytes:
        self.reads += 1
        return self.chunks.pop(0)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "uploads", max_bytes=100)
    made.prepare()
    return made


async def test_a_body_announced_over_the_bound_is_refused_before_a_byte_is_read(spool):
    body = ScriptedBody(b"x")
    with pytest.raises(TooLarge):
        async with spool.take(body, announced_bytes=101):
            pass
    assert body.reads == 0


async def test_a_kept_body_is_private_can_be_read_again_and_is_gone_afterwards(spool):
    async with spool.take(ScriptedBody(b"one ", b"two"), None) as kept:
        assert (kept.size_bytes, kept.sha256) == (7, hashlib.sha256(b"one two").hexdigest())
        assert kept.path.stat().st_mode & 0o777 == 0o600
        for _ in range(2):  # a second node may need it after the first was lost
            assert b"".join([chunk async for chunk in kept.chunks()]) == b"one two"
    assert not kept.path.exists()


async def test_a_client_that_sends_nothing_has_gone(spool, monkeypatch):
    class SilentBody(ScriptedBody):
        async def readany(self) -> bytes:
            await asyncio.Event().wait()
            return b""

    monkeypatch.setattr("tarsd.api.spool.READ_S", 0.02)
    with pytest.raises(ConnectionResetError):
        async with spool.take(SilentBody(), None):
            pass


async def test_a_disk_that_fails_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError):
        async with Spool(tmp_path / "not made", 100).take(ScriptedBody(b"x"), None):
            pass
