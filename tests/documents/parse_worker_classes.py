"""Parse workers that misbehave the way native code does, on the page or at the moment they are told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from tarsd.documents.chunk import Chunk
from tarsd.documents.pages import Opened, Page, PageRequest
from tarsd.wire import decode, encode


class _Paged:
    bad: frozenset[int] = frozenset({2})
    pages = 4

    def __init__(self, settings: bytes) -> None:
        pass

    def open(self, request: bytes) -> Iterator[bytes]:
        yield encode(Opened("pdf", self.pages))

    def page(self, request: bytes) -> Iterator[bytes]:
        number = decode(request, PageRequest).number
        if number in self.bad:
            self.misbehave()
        yield encode(Page(number, [Chunk(number, 0, 4, "text")]))

    def misbehave(self) -> None:
        raise NotImplementedError


class Hangs(_Paged):
    def misbehave(self) -> None:
        time.sleep(600)


class Dies(_Paged):
    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class DiesAlways(Dies):
    bad = frozenset(range(1, 100))
    pages = 90


class DiesOften(Dies):
    bad = frozenset({1, 2, 4, 5, 7})
    pages = 7


class Greedy(_Paged):
    def misbehave(self) -> None:
        self.hoard = bytearray(8 * 1024**3)


class Curious(_Paged):
    """Tries to reach the network."""

    def misbehave(self) -> None:
        import socket

        socket.create_connection(("127.0.0.1", 9), timeout=1)


class DiesOpening(_Paged):
    def open(self, request: bytes) -> Iterator[bytes]:
        os.kill(os.getpid(), signal.SIGSEGV)
        yield b""
