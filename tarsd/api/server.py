"""The client API of a node: one HTTP server for people and their programs.

    GET  /                      chat page               WS   /ws                      chat (tarsd.api.ws)
    POST /v1/chat/completions   OpenAI-compatible       GET  /v1/models
    POST /v1/messages           Anthropic-compatible    POST /api/chat, /api/generate, … as Ollama
    POST /api/documents         take in a document      GET  /api/jobs, /api/search
    GET, POST, PATCH, DELETE /api/memories, /api/projects, /api/memory/…   what is remembered
    GET  /api/members, /api/status                      POST /api/nightly, /api/invite (admin token)
    POST /api/revoke, /api/rotate (admin token)
    GET  /api/models            models of all nodes     POST /api/pull, /api/measure, DELETE /api/delete (admin token)
    GET  /metrics, /healthz     for machines            GET  /api                     this, in full

Who may come in is decided by `guard`, how errors are told by `replies`. A client that leaves cancels its work.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from tarsd import wire
from tarsd.api import documents, manual, openapi, page_files
from tarsd.api.guard import add_security_headers, guard
from tarsd.api.happenings import HAPPENINGS, Happenings
from tarsd.api.page_files import PAGE, load_page
from tarsd.api.peers import is_loopback
from tarsd.api.replies import tell_errors
from tarsd.api.running import RUNNING, Running, count_requests
from tarsd.api.services import SERVICES, SETTINGS, ApiServices
from tarsd.api.sockets import OPEN_SOCKETS, OpenSockets
from tarsd.api.spool import Spool
from tarsd.api.token_book import TOKENS, TokenBook
from tarsd.api.tokens import FILE as TOKENS_FILE
from tarsd.config import Api
from tarsd.errors import ConfigError
from tarsd.gossip.member import Member
from tarsd.memory.forgetting import Forgotten

log = logging.getLogger(__name__)

# A JSON body is messages of a chat; documents have their own, streamed way in.
MAX_JSON_BYTES = 8 * wire.MIB
MAX_LINE_BYTES = 32 * wire.KIB  # a search of the greatest length, escaped; else aiohttp refuses it as plain text
KEEPALIVE_S = 75.0
ADDRESS_FILE = "api.url"


class ApiServer:
    """Serves the client API between `start` and `stop`."""

    def __init__(self, settings: Api, services: ApiServices) -> None:
        self._settings = settings
        self._services = services
        self._running = Running()
        self._tokens = TokenBook(services.data_dir / TOKENS_FILE)
        self._sockets = OpenSockets(services)
        self._telling: asyncio.Task[None] | None = None
        self._happenings = Happenings(services.members)
        self._unsubscribe: Callable[[], None] = lambda: None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self.url = ""
        self.port = 0  # while it listens

    async def start(self) -> int:
        """Listen and return the bound port; raises `ConfigError` when that cannot be done."""
        tls = _tls(self._settings)
        self._tokens.look(time.monotonic())  # a file that cannot be read is told from the start
        spool = Spool(self._services.data_dir / "spool" / "uploads", self._settings.max_body_mib * wire.MIB)
        await asyncio.to_thread(spool.prepare)
        app = self._app(spool, await asyncio.to_thread(load_page))
        self._runner = web.AppRunner(
            app,
            handler_cancellation=True,  # a client that leaves must free the model; aiohttp leaves this off by default
            shutdown_timeout=1.0,
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,
            max_line_size=MAX_LINE_BYTES,
        )
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._settings.listen, self._settings.port, ssl_context=tls)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            where = f"{self._settings.listen}:{self._settings.port}"
            raise ConfigError(f"api.listen, api.port: cannot listen on {where}: {error.strerror or error}") from error
        self._unsubscribe = self._services.subscribe(self._member_changed)
        self._telling = asyncio.create_task(self._sockets.run(), name="peers for clients")
        self.port = int(self._runner.addresses[0][1])
        self.url = _url(self._settings, self.port)
        await asyncio.to_thread(_write_address, self._address_file, self.url)
        log.info("chat page and API at %s", self.url)
        return self.port

    async def stop(self, drain_s: float = 5.0) -> None:
        """Take no new connections, give running answers `drain_s` to end, then close all."""
        if self._runner is None or self._site is None:
            return
        self._address_file.unlink(missing_ok=True)
        self._unsubscribe()
        if self._telling is not None:
            telling, self._telling = self._telling, None
            telling.cancel()
            await asyncio.wait({telling})
        self._happenings.close()
        await self._site.stop()
        await self._sockets.close(idle_only=True)
        if not await self._running.wait_quiet(drain_s):
            log.info("answers still running after %.1f s are cut off", drain_s)
        await self._sockets.close(idle_only=False)
        await self._runner.cleanup()
        self._runner = self._site = None

    def problem(self) -> str:
        """Return which of its own tasks ended, which none may while it serves; "" = none."""
        task = self._telling
        return f"{task.get_name()} ended" if task is not None and task.done() else ""

    def token_note(self) -> str:
        """Return why no named token can be checked; "" = they can."""
        self._tokens.look(time.monotonic())
        return self._tokens.problem

    def let_go(self, forgotten: Forgotten) -> None:
        """Let go of what the open chats tell of something that is forgotten."""
        self._sockets.sessions.let_go(forgotten)

    def _member_changed(self, member: Member) -> None:
        self._happenings.note(member)
        self._sockets.members_changed()

    @property
    def _address_file(self) -> Path:
        return self._services.data_dir / ADDRESS_FILE

    def _app(self, spool: Spool, page: dict[str, page_files.PageFile]) -> web.Application:
        app = web.Application(middlewares=[count_requests, tell_errors, guard], client_max_size=MAX_JSON_BYTES)
        app[SERVICES] = self._services
        app[SETTINGS] = self._settings
        app[TOKENS] = self._tokens
        app[RUNNING] = self._running
        app[OPEN_SOCKETS] = self._sockets
        app[HAPPENINGS] = self._happenings
        app[documents.SPOOL] = spool
        app[PAGE] = page
        app.on_response_prepare.append(add_security_headers)
        for module in (*manual.MODULES, manual, openapi):
            app.add_routes(module.routes())
        return app


def _tls(settings: Api) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # people's browsers, not nodes
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"api.tls_cert, api.tls_key: cannot be used: {error}") from error
    return context


def _url(settings: Api, port: int) -> str:
    """Return where this PC itself reaches the API."""
    scheme = "https" if settings.tls_cert else "http"
    host = settings.listen
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not listened on
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    elif is_loopback(host) and host == "localhost":
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _write_address(path: Path, url: str) -> None:
    """Tell this PC's own commands where the API is; matters where the port was chosen by the system."""
    beside = path.with_suffix(".new")
    beside.write_text(url + "\n", encoding="utf-8")
    beside.replace(path)
