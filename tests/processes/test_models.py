"""Models between real nodes: copied from a peer through kill -9 of either side, verified, loaded by name, unloaded."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from bench.daemon import Daemon
from tarsd.engines import bundled
from tests.processes.real_nodes import ONE_THREAD, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

SIZE = 300_000_000  # large enough to be caught on its way; what is behind the weights llama.cpp does not read
KEEP_S = 1.0
PULLER = f"""
[models]
keep_alive_s = {KEEP_S}
[[models.catalog]]
name = "second"
context_tokens = 512
threads = 1
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster, None]:
    folder = tmp_path_factory.mktemp("models")
    file = folder / "a-second-model.gguf"
    shutil.copy(bundled.chat_gguf(), file)
    with file.open("r+b") as opened:
        opened.truncate(SIZE)
    giver = f'\n[models]\n[[models.catalog]]\nname = "{{}}"\nsource = "{file}"\n'
    plans = [
        Plan("pc1", ("cognitive",), settings=ONE_THREAD + PULLER),
        Plan("pc2", settings=giver.format("second")),  # gives its file without running it
        Plan("pc3", settings=giver.format("another-name")),
    ]
    async with cluster(plans, folder) as running:
        for name in ("pc2", "pc3"):
            await running.wait_capability("pc1", "model_file", of=name)
        await running.wait_capability("pc1", "chat", of="pc1")
        yield running


def admin(daemon: Daemon) -> dict[str, str]:
    token = (daemon.folder / "data" / "admin.token").read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}"}


async def pulling(daemon: Daemon, model: str = "second") -> AsyncGenerator[dict[str, Any], None]:
    """Pull at a node and yield the lines that come."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120), headers=admin(daemon)) as session,
        session.post(f"{daemon.url}/api/pull", json={"model": model}) as response,
    ):
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.strip():
                yield json.loads(line)


def is_half_way(line: dict[str, Any]) -> bool:
    return line["status"] == "pulling second" and 0 < line.get("completed", 0) < SIZE


async def models_of(nodes: Cluster, name: str) -> dict[str, dict[str, Any]]:
    found = await nodes.clients["pc1"].get("/api/models")
    return {model["name"]: model for model in found["models"] if model["node"] == name}


async def remove(nodes: Cluster) -> None:
    said = await nodes["pc1"].command("models", "rm", "second", "--yes")
    assert "300.0 MB freed" in said
    assert (await models_of(nodes, "pc1"))["second"]["state"] == "absent"


async def test_a_pull_goes_on_at_another_peer_when_its_source_is_killed(nodes: Cluster) -> None:
    reached, killed, lines = 0, "", []
    async with aclosing(pulling(nodes["pc1"])) as stream:
        async for line in stream:
            lines.append(line)
            if is_half_way(line) and not killed:
                reached, killed = line["completed"], line["origin"]
                await nodes[killed].kill()
    assert killed == "pc2"
    assert lines[-1]["status"] == "success"
    after = [line for line in lines if line.get("origin") == "pc3" and line["status"] == "pulling second"]
    assert after[0]["completed"] >= reached  # nothing was fetched twice
    file = nodes["pc1"].folder / "data" / "models" / "second.gguf"
    digest = await asyncio.to_thread(lambda: hashlib.sha256(file.read_bytes()).hexdigest())
    assert lines[-1]["digest"] == f"sha256:{digest}"
    assert file.stat().st_size == SIZE
    await nodes["pc2"].start()


async def test_a_model_is_loaded_when_it_is_named_and_leaves_when_its_time_is_over(nodes: Cluster) -> None:
    body = {"model": "second", "max_tokens": 4, "messages": [{"role": "user", "content": "Say hello."}]}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as session,
        session.post(f"{nodes['pc1'].url}/v1/chat/completions", json=body) as response,
    ):
        reply = await response.json()
        assert response.status == 200, reply
    assert reply["tarsd"]["model"] == "second"
    assert reply["choices"][0]["message"]["content"]
    loaded = (await models_of(nodes, "pc1"))["second"]
    assert loaded["state"] == "loaded"
    assert loaded["memory_bytes"] > 50_000_000
    assert loaded["architecture"] == "llama"

    async def is_out_of_memory() -> bool:
        return (await models_of(nodes, "pc1"))["second"]["state"] == "present"

    await until(is_out_of_memory, KEEP_S + 20, "the second model is unloaded")


async def test_a_pull_waits_for_its_only_source_to_come_back(nodes: Cluster) -> None:
    await remove(nodes)
    await nodes["pc3"].stop()
    await nodes.wait_state("pc1", "pc3", ["left", "dead"])
    await nodes.wait_capability("pc1", "model_file", of="pc2")
    reached, back, lines = 0, None, []
    async with aclosing(pulling(nodes["pc1"])) as stream:
        async for line in stream:
            lines.append(line)
            if is_half_way(line) and not reached:
                reached = line["completed"]
                await nodes["pc2"].kill()
                back = asyncio.create_task(nodes["pc2"].start())
    assert back is not None
    await back
    assert lines[-1]["status"] == "success"
    begun = [line["completed"] for line in lines if is_half_way(line)]
    assert begun == sorted(begun)
    await nodes["pc3"].start()
    await nodes.wait_full()


async def test_a_pull_goes_on_where_it_was_when_the_puller_was_killed(nodes: Cluster) -> None:
    await remove(nodes)
    reached = 0
    with pytest.raises(aiohttp.ClientError):
        async with killing_when_half_way(nodes["pc1"]) as half_way:
            reached = await half_way
    part = nodes["pc1"].folder / "data" / "models" / "second.gguf.part"
    assert reached <= part.stat().st_size < SIZE
    await nodes["pc1"].start()
    await nodes.wait_full()
    said = await nodes["pc1"].command("models", "pull", "second", "--json", within_s=90)
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["status"] == "success"
    assert next(line for line in lines if line["status"] == "pulling second")["completed"] >= reached


@asynccontextmanager
async def killing_when_half_way(daemon: Daemon) -> AsyncGenerator[asyncio.Future[int], None]:
    """Pull and kill the puller in the middle; raises what its reader then meets."""
    reached: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def read() -> None:
        async with aclosing(pulling(daemon)) as stream:
            async for line in stream:
                if is_half_way(line) and not reached.done():
                    reached.set_result(line["completed"])
                    await daemon.kill()

    reading = asyncio.create_task(read())
    yield reached
    await reading


async def test_a_person_sees_all_models_of_all_pcs(nodes: Cluster) -> None:
    said = await nodes["pc1"].command("models", "list")
    rows = [line.split() for line in said.splitlines()]
    assert ["pc1", "second", "on", "disk"] in [row[:4] for row in rows]
    assert any(row[0] == "pc1" and row[2] == "loaded" and "llama" in row for row in rows)


async def test_bench_measures_this_pc_and_the_others_learn_it(nodes: Cluster) -> None:
    said = await nodes["pc1"].command("bench", "--quick", "--json", within_s=120)
    (speed,) = [line["speed"] for line in map(json.loads, said.splitlines()) if line["speed"]]
    assert speed["tokens_per_s"] > 0
    assert speed["prompt_tokens_per_s"] > 0
    assert speed["together_tokens_per_s"] > 0
    assert speed["load_s"] > 0
    assert speed["memory_bytes"] > 50_000_000

    def told(members: dict[str, Any]) -> bool:
        return bool(members["pc1"]["capabilities"]["chat"].get("speed") == speed["tokens_per_s"])

    await nodes.clients["pc3"].wait_members(told, 10, "pc3 knows the speed of pc1")


async def test_a_file_of_yours_is_never_deleted(nodes: Cluster) -> None:
    path = bundled.chat_gguf()
    with pytest.raises(Exception, match="is the model of"):
        await nodes["pc1"].command("models", "rm", path.stem, "--yes")
    assert bundled.chat_gguf() == path
