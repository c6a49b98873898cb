"""Talks to a node's client API on behalf of a command.

Which node: `--api`, else TARSD_API, else the local one, whose address and tokens stand in its config and data folder.
Every wait has an end: connecting 5 s, and an answer or stream that stays silent for 30 s (a beat comes every 5 s); what
ends a chat is decided by `talk`.
"""

from __future__ import annotations

import argparse
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from tarsd import errors
from tarsd.api.messages import PASS_PREFIX, PROTOCOL
from tarsd.cli.talk import Talk
from tarsd.config import Config, find_config, load_config

Params = Mapping[str, str | int]

CONNECT_S = 5.0
SILENCE_S = 30.0
HEARTBEAT_S = 10.0
MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024  # a thousand members with all that they offer are one line


class Target(msgspec.Struct, frozen=True):
    """Which node to talk to, and with what."""

    url: str
    token: str = ""
    certificate: Path | None = None  # the local node's own certificate, trusted as it stands


def target_of(args: argparse.Namespace, *, admin: bool = False) -> Target:
    """Return the node that the arguments mean; `admin` asks for its admin token. Raises `ConfigError`."""
    token = os.environ.get("TARSD_TOKEN", "")
    named = args.api or os.environ.get("TARSD_API")
    if named:
        if not re.fullmatch(r"https?://[^\s/?#]+(?:/\S*)?", named):
            where = "--api" if args.api else "TARSD_API"
            raise errors.ConfigError(f"{where} = {named!r}: allowed is a node's address, such as http://pc1.home:7711")
        return Target(named.rstrip("/"), token)
    config = load_config(find_config(args.config))
    certificate = config.api.tls_cert
    return Target(_local_url(config), token or _local_token(config, admin), certificate)


def _local_url(config: Config) -> str:
    if config.api.port == 0:
        file = config.node.data_dir / "api.url"
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise errors.Unavailable(f"{file} is not there: is the node running? Start it with `tarsd run`") from error
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.api.listen, config.api.listen)  # noqa: S104
    scheme = "https" if config.api.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{config.api.port}"


def _local_token(config: Config, admin: bool) -> str:
    """Return a token from the data folder; who may not read it is told so by the node, if one is needed."""
    for name in ("admin.token",) if admin else ("access.token", "admin.token"):
        try:
            return (config.node.data_dir / name).read_text(encoding="utf-8").strip()
        except OSError:
            continue
    return ""


class ApiClient:
    """An open session with a node: `async with ApiClient(target) as client`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._target.token}"} if self._target.token else {}
        self._session = aiohttp.ClientSession(
            self._target.url + "/",
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=_trust(self._target)),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def json(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        upload: AsyncIterable[bytes] | None = None,
        params: Params | None = None,
    ) -> Any:
        """Return the response of one request as plain data; raises what the node refused with."""
        data = upload if upload is not None else _encoded(body)
        async with self._request(method, path, body=data, params=params) as response:
            return msgspec.json.decode(await response.read())

    async def pieces(self, method: str, path: str, *, params: Params | None = None) -> AsyncGenerator[bytes, None]:
        """Yield a response that is not ours to read, as it comes."""
        async with self._request(method, path, params=params) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def lines(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        upload: AsyncIterable[bytes] | None = None,
        upload_bytes: int = 0,
        params: Params | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the objects of a response that has one a line; raises the error that ends it."""
        data = upload if upload is not None else _encoded(body)
        async with (
            self._request(method, path, body=data, length=upload_bytes, params=params) as response,
            aclosing(_split(response.content)) as split,
        ):
            async for line in split:
                if not line.strip():
                    continue  # a beat
                item: dict[str, Any] = msgspec.json.decode(line)
                if isinstance(item.get("error"), dict) or {"error", "name"} <= item.keys():
                    raise _refused(item)
                yield item

    def talk(self, *, conversation: str = "", language: str = "", project: str = "", temporary: bool = False) -> Talk:
        """Return a talk that begins at this node; of a `temporary` one nothing is remembered."""
        return Talk(
            self._target.url,
            self._chat,
            conversation=conversation,
            language=language,
            project=project,
            temporary=temporary,
        )

    @asynccontextmanager
    async def _chat(self, url: str, passes: Sequence[str]) -> AsyncGenerator[aiohttp.ClientWebSocketResponse, None]:
        """Open the chat of this node, or of another one; raises `TarsdError`.

        Another one is shown the passes; this node's own token and certificate are for this node alone.
        """
        home = url == self._target.url
        headers = {"Authorization": f"Bearer {self._target.token}"} if self._target.token and home else {}
        shown = [PROTOCOL, *(PASS_PREFIX + one for one in passes)] if passes else []
        connector = aiohttp.TCPConnector(ssl=_trust(self._target) if home else True)
        async with aiohttp.ClientSession(connector=connector) as session:
            with _Told(url):
                socket = await session.ws_connect(
                    f"{url}/ws",
                    headers=headers,
                    protocols=shown,
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_EVENT_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
            try:
                yield socket
            finally:
                await socket.close()

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, *, body: object = None, length: int = 0, params: Params | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
        if body is not None and not headers:
            headers = {"Content-Type": "application/octet-stream"}
        if length:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        with self._told():
            async with self._open_session().request(
                method, path.lstrip("/"), params=params or {}, data=body, headers=headers
            ) as response:
                if response.status >= 400:
                    raise await _error_in(response)
                yield response

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside `async with`")
        return self._session

    def _told(self) -> _Told:
        return _Told(self._target.url)


class _Told:
    """Turns the HTTP library's errors into ours."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, aiohttp.WSServerHandshakeError):
            refused = errors.NotAllowed if error.status in (401, 403) else errors.Unavailable
            raise refused(f"{self._url} refused the chat ({error.status})") from error
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            raise errors.Unavailable(f"{self._url}: its certificate is not trusted here") from error
        if isinstance(error, aiohttp.ClientConnectorError):
            raise errors.Unavailable(f"no node answers at {self._url}: is it running? (`tarsd run`)") from error
        if isinstance(error, aiohttp.InvalidURL):
            raise errors.InvalidInput(f"--api: {self._url!r} is not a URL such as http://127.0.0.1:7711") from error
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            raise errors.PeerLost(f"the connection to {self._url} was lost: {error or 'silence'}") from error


def _encoded(body: object) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)


async def _split(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a body; raises `Unavailable` at one longer than `MAX_LINE_BYTES`.

    The stream's own lines end at half a megabyte, with a `ValueError`.
    """
    held = bytearray()
    async for piece in content.iter_any():
        end, *others = piece.split(b"\n")
        held += end
        if len(held) > MAX_LINE_BYTES:
            raise errors.Unavailable(f"a line of more than {MAX_LINE_BYTES} bytes came: is it a tarsd node?")
        for begin in others:
            yield bytes(held)
            held = bytearray(begin)
    yield bytes(held)


async def _error_in(response: aiohttp.ClientResponse) -> errors.TarsdError:
    try:
        return _refused(msgspec.json.decode(await response.read()))
    except (msgspec.DecodeError, KeyError, TypeError):
        return errors.Unavailable(f"{response.url.origin()} answered {response.status}: is it a tarsd node?")


def _refused(body: dict[str, Any]) -> errors.TarsdError:
    error = body["error"]
    if isinstance(error, str):  # of the paths that Ollama's clients use too
        return errors.from_wire(str(body["name"]), error)
    return errors.from_wire(str(error["name"]), str(error["message"]), float(error.get("retry_after_s", 0.0)))


def _trust(target: Target) -> ssl.SSLContext | bool:
    if target.certificate is None or not target.url.startswith("https:"):
        return True
    try:
        context = ssl.create_default_context(cafile=str(target.certificate))
    except (OSError, ssl.SSLError) as error:
        raise errors.ConfigError(f"api.tls_cert = {str(target.certificate)!r}: cannot be used: {error}") from error
    context.check_hostname = False  # this very certificate is trusted, and it names the PC, not 127.0.0.1
    return context
