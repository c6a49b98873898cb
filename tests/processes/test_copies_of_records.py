"""Records of real daemons: acknowledged with two copies, told honestly when alone, the same everywhere afterwards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from bench.cluster import JOIN_S, Plan, form, logs_in_notes
from bench.memory_replication import WritingDaemon

PATIENT_S = 8.0  # a busy machine must not turn a copy into a note
PATIENT = f"[memory]\ncopies_wait_ms = {PATIENT_S * 1000:.0f}\n"


async def same(*daemons: WritingDaemon) -> None:
    """Wait until all have the same records."""
    async with asyncio.timeout(30):
        while len({(await daemon.do("standing"))["mark"] for daemon in daemons}) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # they are other processes


async def standing(daemon: WritingDaemon) -> dict[str, Any]:
    """Return what `tarsd memory status` says of the node itself."""
    found = json.loads(await daemon.command("memory", "status", "--json"))
    status: dict[str, Any] = found["nodes"][0]["status"]
    return status


async def test_a_death_a_return_and_a_new_pc(tmp_path: Path) -> None:
    one, two, three = [
        WritingDaemon(Plan(f"pc{number}", settings=PATIENT), tmp_path / f"pc{number}") for number in (1, 2, 3)
    ]
    try:
        with logs_in_notes([one, two, three]):
            await form([one, two])
            async with asyncio.timeout(30):
                while (await one.do("write", prefix="first"))["copies"] != [2]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            told = await one.do("write", count=20, prefix="both")
            assert told["copies"] == [2] * 20
            await two.kill()
            told = await one.do("write", count=20, prefix="alone")
            assert told["copies"] == [1] * 20
            assert all(told["degraded"])
            assert max(told["took_s"]) < PATIENT_S  # its death was noticed, not waited out
            assert (await standing(one))["single"] == 20
            await two.start()
            await same(one, two)
            token = (await two.command("invite")).split()[0]
            await three.command("join", token, within_s=JOIN_S)
            await three.start()
            await same(one, two, three)
            hashes = [await daemon.do("hashes") for daemon in (one, two, three)]
            assert hashes[0] == hashes[1] == hashes[2]
            async with asyncio.timeout(30):
                while (await standing(one))["single"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    finally:
        await asyncio.gather(*(daemon.stop() for daemon in (one, two, three)))
