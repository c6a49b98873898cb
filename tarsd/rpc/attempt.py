"""One request on one connection: made or taken from the pool, with the wait for the answer's head bounded."""

from __future__ import annotations

import asyncio

import aiohttp
from yarl import URL

from tarsd.errors import PeerLost
from tarsd.identity.peer import server_name_of
from tarsd.names import NodeId
from tarsd.rpc.failures import broken, not_connected
from tarsd.rpc.upload import Upload


class Attempt:
    """One request on one connection, and what is known of that connection."""

    def __init__(self, connect_s: float, silence_s: float, until: float) -> None:
        self._reused = False
        self.found_closed = False  # a pooled connection, closed before a byte of the answer came
        self._connected = False
        self._silence_s = silence_s
        self._until = until
        self._loop = asyncio.get_running_loop()
        # the silence is counted from the moment there is a connection
        self._timer = asyncio.timeout_at(min(until, self._loop.time() + connect_s))

    def connected(self, *, reused: bool) -> None:
        """Note that the request goes out now."""
        self._reused = reused
        self._connected = True
        self._timer.reschedule(min(self._until, self._loop.time() + self._silence_s))

    async def post(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        expected: NodeId,
        body: bytes | Upload,
        headers: dict[str, str],
    ) -> aiohttp.ClientResponse:
        """Return the response once its headers are here.

        Raises `PeerLost`, `NotAllowed`, or `TimeoutError` when the loop's time passes `until`.
        """
        try:
            async with self._timer:
                return await session.post(
                    url,
                    data=body.frames() if isinstance(body, Upload) else body,
                    headers=headers,
                    server_hostname=server_name_of(expected),
                    allow_redirects=False,
                    trace_request_ctx=self,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorCertificateError) as error:
            raise not_connected(error) from error
        except TimeoutError as error:
            if self._loop.time() >= self._until:
                raise
            if not self._connected:
                raise not_connected(error) from error
            raise PeerLost(f"{expected[:8]}: silent for {self._silence_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            self.found_closed = self._reused
            raise broken(error) from error
