"""Pure: server-sent events as OpenAI-compatible servers send them: `data:` lines, an empty line ends an event.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from collections.abc import Iterator

from tarsd.errors import WireError
from tarsd.wire import MIB

# Guards memory against a server that never ends a line; a chunk of an answer has some hundred bytes.
_LINE_BYTES = 1 * MIB


class EventReader:
    """Turns a byte stream, fed in any pieces, into the data of its events."""

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the data of each event that `chunk` completes; raises `WireError` on an endless line."""
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        if len(self._buffer) > _LINE_BYTES:
            raise WireError(f"a line of an event stream is over {_LINE_BYTES} bytes")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                data, self._data = b"\n".join(self._data), []
                yield data
