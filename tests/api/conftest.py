from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from tarsd.api.server import ApiServer
from tarsd.config import Api
from tests.api import scripted_services as scripted


@dataclass
class Served:
    """A running API server and what it stands on."""

    server: ApiServer
    url: str
    port: int
    host: scripted.ScriptedHost
    dispatch: scripted.ScriptedDispatch


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Any]:
    """A function that starts a server on a free port; all are stopped at the end."""
    running: list[ApiServer] = []

    async def start(
        host: scripted.ScriptedHost | None = None,
        replies: dict[str, Any] | None = None,
        settings: Api | None = None,
        **changes: Any,
    ) -> Served:
        host = host or scripted.ScriptedHost()
        dispatch = scripted.ScriptedDispatch(replies or {})
        server = ApiServer(settings or Api(port=0), scripted.services(tmp_path, host, dispatch, **changes))
        port = await server.start()
        running.append(server)
        return Served(server, server.url, port, host, dispatch)

    yield start
    for server in running:
        await server.stop(drain_s=0.0)


@pytest.fixture
async def connect() -> AsyncIterator[Any]:
    """A function that makes the official client of a server; all are closed at the end."""
    clients: list[openai.AsyncOpenAI] = []

    def make(served: Served) -> openai.AsyncOpenAI:
        clients.append(openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()
