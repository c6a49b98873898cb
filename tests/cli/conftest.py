from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.api.conftest import serve  # noqa: F401 - the same server as the API's own tests

KEPT = ("PATH", "HOME", "SSL_CERT_FILE", "PYTHONPATH")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Running:
    """A `tarsd` command as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def write(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text.encode())

    async def read_until(self, text: str) -> str:
        assert self.process.stdout
        async with asyncio.timeout(60):
            return (await self.process.stdout.readuntil(text.encode())).decode()

    async def ended(self) -> Ended:
        assert self.process.stdin
        self.process.stdin.close()  # Python 3.11's communicate leaves it open
        async with asyncio.timeout(60):
            out, err = await self.process.communicate()
        return Ended(self.process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Any]:
    """A function that starts `tarsd` with arguments, in English unless the environment says otherwise."""
    processes: list[asyncio.subprocess.Process] = []

    async def run(*arguments: str, **environ: str) -> Running:
        env = {name: os.environ[name] for name in KEPT if name in os.environ} | {"LANG": "C.UTF-8"} | environ
        env["COLUMNS"] = "200"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tarsd", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env, cwd=tmp_path
        )
        processes.append(process)
        return Running(process)

    yield run
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
def tarsd(start: Any) -> Any:
    """A function that runs `tarsd` to its end."""

    async def run(*arguments: str, **environ: str) -> Ended:
        ended: Ended = await (await start(*arguments, **environ)).ended()
        return ended

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file whose data folder is the test's."""
    path = tmp_path / "tarsd.toml"
    path.write_text(
        f'[node]\nname = "pc1"\ndata_dir = "{tmp_path}"\n[network]\nlisten = ["127.0.0.1"]\nport = 0\nmdns = false\n'
        "[api]\nport = 0\n"
    )
    return path
