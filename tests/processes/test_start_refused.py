"""A node that cannot start says so at once, and what to do."""

from __future__ import annotations

import asyncio
import sys

import pytest

from bench.cluster import Daemon, Plan
from bench.daemon import environment_of_a_child

pytestmark = [pytest.mark.processes]

EX_CONFIG = 78


async def run(daemon: Daemon) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tarsd", "--config", str(daemon.config), "run"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment_of_a_child(),
    )
    try:
        async with asyncio.timeout(30):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode, said.decode()


async def test_a_wrong_key_is_named_with_its_file(tmp_path):
    daemon = Daemon(Plan("pc1", settings="[processing]\nthread = 1\n"), tmp_path / "pc1")
    code, said = await run(daemon)
    assert code == EX_CONFIG
    assert str(daemon.config) in said
    assert "thread" in said
    assert "processing" in said
    assert "Traceback" not in said
    print(said.strip())


async def test_a_node_without_identity_says_how_to_get_one(tmp_path):
    code, said = await run(Daemon(Plan("pc1"), tmp_path / "pc1"))
    assert code == EX_CONFIG
    assert "tarsd init" in said
    assert "tarsd join" in said


async def test_a_port_that_is_taken_is_named(tmp_path):
    first = Daemon(Plan("pc1"), tmp_path / "pc1")
    await first.command("init")
    await first.start()
    try:
        second = Daemon(Plan("pc2"), tmp_path / "pc2")
        await second.command("init")
        second.config.write_text(second.config.read_text().replace(f"port = {second.port}", f"port = {first.port}"))
        code, said = await run(second)
    finally:
        await first.stop()
    assert code == EX_CONFIG
    assert str(first.port) in said
    assert "Traceback" not in said
