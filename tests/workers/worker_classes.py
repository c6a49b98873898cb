"""Classes that the tests run in real workers."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from tarsd.errors import DocumentError, EngineUnavailable
from tarsd.wire import decode, encode


class Talker:
    def __init__(self, settings: bytes) -> None:
        self.settings = decode(settings, dict)
        if self.settings.get("refuse"):
            raise EngineUnavailable(self.settings["refuse"])
        if self.settings.get("break"):
            raise ValueError("the file is not a model")
        if self.settings.get("die"):
            print("about to die", file=sys.stderr, flush=True)
            os._exit(7)
        if self.settings.get("slow_start"):
            threading.Event().wait()

    def echo(self, request: bytes) -> Iterator[bytes]:
        yield request

    def count(self, request: bytes) -> Iterator[bytes]:
        for number in range(decode(request, int)):
            yield encode(number)

    def forever(self, request: bytes) -> Iterator[bytes]:
        try:
            while True:
                yield request or b"x"
        finally:
            self.closed = True

    def was_closed(self, request: bytes) -> Iterator[bytes]:
        yield encode(getattr(self, "closed", False))

    def pause(self, request: bytes) -> Iterator[bytes]:
        yield from (b"", b"one", b"", b"two", b"")

    def quietly_forever(self, request: bytes) -> Iterator[bytes]:
        yield b"first"
        while True:
            time.sleep(0.01)
            yield b""

    def compute_without_gil(self, request: bytes) -> Iterator[bytes]:
        time.sleep(decode(request, float))
        yield b"done"

    def hold_the_gil(self, request: bytes) -> Iterator[bytes]:
        yield b"now"
        ctypes.PyDLL(None).sleep(600)

    def never_yield(self, request: bytes) -> Iterator[bytes]:
        yield b"now"
        print("past the last place to leave", file=sys.stderr, flush=True)
        time.sleep(600)

    def die(self, request: bytes) -> Iterator[bytes]:
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), decode(request, int))
        time.sleep(600)
        yield b""

    def print_loudly(self, request: bytes) -> Iterator[bytes]:
        print("a native library's banner", flush=True)
        os.write(1, b"\x00\x00\x00\x01\x05 not a frame\n")
        yield b"clean"

    def fail(self, request: bytes) -> Iterator[bytes]:
        yield b"one"
        raise DocumentError("page 3 is broken")

    def fail_strangely(self, request: bytes) -> Iterator[bytes]:
        raise KeyError("a person's secret")
        yield b""

    def big(self, request: bytes) -> Iterator[bytes]:
        while True:
            yield bytes(200_000)

    def too_big(self, request: bytes) -> Iterator[bytes]:
        yield bytes(5 * 1024 * 1024)

    def allocate(self, request: bytes) -> Iterator[bytes]:
        yield encode(len(bytearray(decode(request, int))))

    def open_files(self, request: bytes) -> Iterator[bytes]:
        files = []
        try:
            for _ in range(decode(request, int)):
                files.append(open(os.devnull))  # noqa: SIM115, PERF401
            yield b"all"
        except OSError as error:
            yield encode(error.errno)
        finally:
            for file in files:
                file.close()

    def sockets(self, request: bytes) -> Iterator[bytes]:
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            try:
                socket.socket(family).close()
                yield b"open"
            except OSError as error:
                yield encode(error.errno)

    def sockets_of_a_child(self, request: bytes) -> Iterator[bytes]:
        code = "import socket; socket.socket(socket.AF_INET)"
        yield encode(subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode)

    def environment(self, request: bytes) -> Iterator[bytes]:
        yield encode(dict(os.environ))

    def grandchild(self, request: bytes) -> Iterator[bytes]:
        yield encode(subprocess.Popen(["sleep", "600"]).pid)

    def close(self) -> None:
        if path := self.settings.get("goodbye"):
            with open(path, "w") as file:
                file.write("closed")


class Together:
    """Calls that share a step: each step gives every open call one number."""

    def __init__(self, settings: bytes) -> None:
        self.waiting: dict[object, list[int]] = {}
        self.steps = 0
        self.is_broken = False

    def tick(self) -> None:
        if self.is_broken:
            self.is_broken = False
            raise EngineUnavailable("the step failed")
        self.steps += 1
        time.sleep(0.005)
        if any(len(numbers) > 1 for numbers in self.waiting.values()):
            raise AssertionError("a call was not read between two steps")
        for numbers in self.waiting.values():
            numbers.append(self.steps)

    def steps_of(self, request: bytes) -> Iterator[bytes]:
        mine: list[int] = []
        self.waiting[id(mine)] = mine
        try:
            for _ in range(decode(request, int)):
                while not mine:
                    yield b""
                yield encode(mine.pop())
        finally:
            del self.waiting[id(mine)]

    def open_calls(self, request: bytes) -> Iterator[bytes]:
        yield encode(len(self.waiting))

    def refuse(self, request: bytes) -> Iterator[bytes]:
        raise DocumentError("not this one")
        yield b""

    def break_the_step(self, request: bytes) -> Iterator[bytes]:
        self.is_broken = True
        while True:
            yield b""

    def hang(self, request: bytes) -> Iterator[bytes]:
        time.sleep(60)  # without the GIL, as native code does
        yield b""
