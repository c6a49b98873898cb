"""The servers that ours is compared with, as child processes on loopback, same model file, threads and context."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from bench.daemon import LOOPBACK, environment_of_a_child, free_ports
from bench.faults import child
from bench.harness import NotAvailableError
from bench.inference_node import CONTEXT_TOKENS, model_file, threads

START_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True)
class Server:
    """Where it is and how it calls the model."""

    name: str
    url: str
    model: str


def require(module: str) -> None:
    """Raise `NotAvailableError` where a package is not installed."""
    if importlib.util.find_spec(module) is None:
        raise NotAvailableError(f"the package {module} is not installed")


@asynccontextmanager
async def python_server() -> AsyncGenerator[Server, None]:
    """Run `python -m llama_cpp.server`; a second request does not interrupt the first, it waits."""
    for module in ("uvicorn", "starlette_context", "pydantic_settings"):
        require(module)
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llama_cpp.server", "--model", str(model_file()), "--host", LOOPBACK,
        "--port", str(port), "--n_ctx", str(CONTEXT_TOKENS), "--n_threads", str(threads()),
        "--n_threads_batch", str(threads()), "--n_gpu_layers", "0", "--interrupt_requests", "False",
        "--verbose", "False",
        stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=environment_of_a_child(),
    )  # fmt: skip
    server = Server("llama_cpp.server", f"http://{LOOPBACK}:{port}", "any")
    try:
        await _wait_up(server.url)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def native_server(slots: int) -> AsyncGenerator[Server, None]:
    """Run llama.cpp's own server."""
    require("xllamacpp")
    (port,) = free_ports(1)
    numbers = map(str, (port, threads(), CONTEXT_TOKENS, slots))
    async with child.running("bench.inference_native", str(model_file()), *numbers):
        yield Server("native", f"http://{LOOPBACK}:{port}", "any")


async def _wait_up(url: str) -> None:
    async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/v1/models") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(POLL_S)
