"""Files of Hugging Face's hub, by its plain HTTP: who a file is, and its bytes from any offset on.

Rules
1. `/OWNER/REPOSITORY/resolve/REVISION/PATH` is asked by HEAD first, and answers for a large file with a redirect to
   where its bytes are; X-Linked-Etag is its SHA-256, X-Linked-Size its length. Without a SHA-256 nothing is fetched,
   unless the catalog says what it must be.
2. Bytes are asked for by Range; a server that does not know it sends all, of which the beginning is dropped.
3. The token goes to the hub itself and to no host that it redirects to; from https nothing is followed to http.
4. What a person must do is said: a private model, a wrong name, a hub that wants a pause.

Why not the library huggingface_hub: a lean node does not have it (it comes with transformers), it blocks, cannot be
cancelled, and keeps files its own way; what is needed of it is these two requests.
Source: https://huggingface.co/docs/hub, and the headers that `huggingface_hub.get_hf_file_metadata` reads.
"""

from __future__ import annotations

import errno
import re
from collections.abc import AsyncGenerator
from math import isfinite
from pathlib import Path

import aiohttp
import msgspec
from yarl import URL

from tarsd.errors import InvalidInput, NotAllowed, NotFound, Overloaded, TarsdError, Unavailable
from tarsd.models.sources import HubFile
from tarsd.wire import MIB

# What systemd's IPAddressDeny makes of a connection to the internet.
_CLOSED = "the systemd service may reach this household's networks only: see `hub` in tarsd.toml for how to open it"
_CONNECT_S = 10.0
_SILENCE_S = 30.0
_CHUNK_BYTES = MIB
_MOST_HOPS = 5
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')
_PAUSE_S = 60.0  # where the hub wants one and does not say how long


class HubFacts(msgspec.Struct, frozen=True):
    """What the hub says of a file; `sha256` "" where it does not know."""

    sha256: str
    size_bytes: int


class Hub:
    """A hub at `base`; `token_file` holds a person's token for private and gated models."""

    def __init__(self, base: str, token_file: Path | None = None) -> None:
        self._base = base.rstrip("/")
        self._token_file = token_file
        self.host = URL(self._base).host or ""

    async def look(self, file: HubFile) -> HubFacts:
        """Return what the hub says of `file` (rule 1).

        Raises `NotFound`, `NotAllowed`, `Overloaded` with its pause, `Unavailable` when it cannot be reached.
        """
        url = self._url(file)
        async with self._session() as session, _Told(self.host):
            for _ in range(_MOST_HOPS):
                async with session.head(url, allow_redirects=False, headers=self._token_for(url)) as response:
                    if response.status >= 400:
                        raise _refusal(response, file)
                    if "X-Linked-Size" in response.headers or response.status < 300:
                        return _facts(response)
                    url = self._next(url, response)  # a repository that was renamed
        raise Unavailable(f"{self.host} sends us round in circles for {_words(file)}")

    async def read(self, file: HubFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of `file` from `offset` on (rule 2); raises as `look` does, and `Unavailable` when cut."""
        url = self._url(file)
        async with self._session() as session, _Told(self.host):
            for _ in range(_MOST_HOPS):
                headers = self._token_for(url) | ({"Range": f"bytes={offset}-"} if offset else {})
                async with session.get(url, allow_redirects=False, headers=headers) as response:
                    if 300 <= response.status < 400:
                        url = self._next(url, response)
                        continue
                    if response.status >= 400:
                        raise _refusal(response, file)
                    drop = 0 if _begins_at(response, offset) else offset
                    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                        kept = chunk[drop:]
                        drop = max(0, drop - len(chunk))
                        if kept:
                            yield kept
                    return
        raise Unavailable(f"{self.host} sends us round in circles for {_words(file)}")

    def _url(self, file: HubFile) -> URL:
        return URL(f"{self._base}/{file.owner}/{file.repository}/resolve/{file.revision}/{file.path}")

    def _next(self, url: URL, response: aiohttp.ClientResponse) -> URL:
        target = url.join(URL(response.headers.get("Location", "")))
        if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme != "https"):
            raise Unavailable(f"{self.host} redirects to {target.scheme or 'nowhere'}, which is not followed")
        return target

    def _token_for(self, url: URL) -> dict[str, str]:
        """Rule 3."""
        if self._token_file is None or url.origin() != URL(self._base).origin():
            return {}
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotAllowed(f"models.hub_token_file: {self._token_file} cannot be read: {error}") from error
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
        headers = {"Accept-Encoding": "identity", "User-Agent": "tarsd"}
        return aiohttp.ClientSession(timeout=timeout, headers=headers, auto_decompress=False, trust_env=True)


class _Told:
    """Turns the HTTP library's errors into ours."""

    def __init__(self, host: str) -> None:
        self._host = host

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            raise InvalidInput(f"models.hub: {error} is no URL") from error
        if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
            is_closed = getattr(error, "errno", None) in (errno.EPERM, errno.EACCES)
            hint = f" ({_CLOSED})" if is_closed or isinstance(error, aiohttp.ConnectionTimeoutError) else ""
            raise Unavailable(f"{self._host}: {error or 'silence'}{hint}") from error


def _facts(response: aiohttp.ClientResponse) -> HubFacts:
    etag = response.headers.get("X-Linked-Etag", "") or response.headers.get("ETag", "")
    size = response.headers.get("X-Linked-Size", "") or response.headers.get("Content-Length", "")
    found = _SHA256.fullmatch(etag)
    if not (size.isascii() and size.isdigit() and 0 < len(size) < 16):
        raise Unavailable(f"{response.url.host} does not say how large the file is")
    return HubFacts(found.group(1) if found else "", int(size))


def _begins_at(response: aiohttp.ClientResponse, offset: int) -> bool:
    if response.status != 206:
        return offset == 0
    if response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        return True
    raise Unavailable(f"{response.url.host} sends other bytes than those asked for")


def _refusal(response: aiohttp.ClientResponse, file: HubFile) -> TarsdError:
    host, what = response.url.host, _words(file)
    match response.status:
        case 401 | 403:
            return NotAllowed(
                f"{host} does not give out {what}: it is private, gated or misspelt. Accept its terms there, and put a "
                "token into a file that models.hub_token_file names"
            )
        case 404:
            return NotFound(f"{host} has no file {what}")
        case 416:
            return InvalidInput(f"{what} is shorter than what is here of it")
        case 429:
            pause_s = _seconds(response.headers.get("Retry-After", ""))
            return Overloaded(f"{host} wants a pause of {pause_s:.0f} s", retry_after_s=pause_s)
        case status:
            return Unavailable(f"{host} answers {status} for {what}")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:  # a date: rare, and clocks differ
        return _PAUSE_S
    return seconds if isfinite(seconds) and seconds > 0 else _PAUSE_S


def _words(file: HubFile) -> str:
    revision = "" if file.revision == "main" else f"@{file.revision}"
    return f"{file.owner}/{file.repository}{revision}/{file.path}"
