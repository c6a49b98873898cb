"""A backup of a real daemon, taken and brought back by the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bench.cluster import Plan, cluster

pytestmark = pytest.mark.processes


async def test_a_running_node_is_backed_up_and_restored_while_it_is_stopped(tmp_path: Path) -> None:
    async with cluster([Plan("pc1")], tmp_path / "nodes") as nodes:
        pc1 = nodes["pc1"]
        made = json.loads(await pc1.command("backup", "--json", "--to", str(tmp_path)))
        copy, original = Path(made["copy"]), Path(made["path"])
        assert await asyncio.to_thread(copy.read_bytes) == await asyncio.to_thread(original.read_bytes)
        listed = json.loads(await pc1.command("backup", "list", "--json"))["backups"]
        assert [each["path"] for each in listed] == [made["path"]]
        await pc1.stop()
        done = json.loads(await pc1.command("restore", "--yes", "--json", str(copy)))
        assert done["aside"].startswith("memory.db.before-restore-")
        await pc1.start()
        assert json.loads(await pc1.command("status", "--json"))["healthy"]
