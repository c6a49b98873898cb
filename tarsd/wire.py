"""Frames: how messages become bytes on a stream, with every bound that guards the reader.

Rules
1. A frame is a 4-byte big-endian length, one kind byte, then that many bytes of body.
2. An empty body of kind BEAT is a sign of life and carries nothing.
3. A length above the bound is refused before a byte of the body is buffered.
4. A stream that ends inside a frame is broken, not finished.
5. A call's response ends with END or ERROR; without one of them it was cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, TypeVar

import msgspec

from tarsd.errors import WireError

KIB = 1024
MIB = 1024 * KIB

# Guards memory against one huge frame: an upload chunk or a page of records is the largest thing we send.
MAX_FRAME_BYTES = 4 * MIB
# Uploads are cut into chunks of this size: large enough to be cheap, small enough to share a connection.
UPLOAD_CHUNK_BYTES = 256 * KIB

_HEADER = struct.Struct(">IB")
HEADER_BYTES = _HEADER.size

T = TypeVar("T")


class Kind(IntEnum):
    """What a frame carries."""

    BEAT = 0  # nothing: the sender lives
    REQUEST = 1  # the request struct of a call, always first in its direction
    CHUNK = 2  # raw bytes of an upload that follows a request
    ITEM = 3  # one item of a response
    END = 4  # the response (or the upload) is complete
    ERROR = 5  # `ErrorBody`: the response ends with this error
    CANCEL = 6  # to a worker: stop the call whose id is the body


_LAST_KIND = max(Kind)


class ErrorBody(msgspec.Struct, frozen=True, array_like=True):
    """An error as it crosses a process or network border."""

    name: str
    sentence: str
    retry_after_s: float = 0.0  # of an `Overloaded`; 0 = not known


class Frame(msgspec.Struct, frozen=True):
    """One decoded frame."""

    kind: Kind
    body: bytes


def encode_frame(kind: Kind, body: bytes = b"") -> bytes:
    """Return the frame's bytes; raises `WireError` when the body is over `MAX_FRAME_BYTES`."""
    if len(body) > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {len(body)} bytes is over the bound of {MAX_FRAME_BYTES}")
    return _HEADER.pack(len(body), kind) + body


BEAT = encode_frame(Kind.BEAT)
END = encode_frame(Kind.END)


class FrameReader:
    """Turns a byte stream, fed in any pieces, into frames."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max = max_frame_bytes

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield each frame that `data` completes; raises `WireError` on an oversized or unknown frame."""
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            length, kind = _HEADER.unpack_from(self._buffer)
            if length > self._max:
                raise WireError(f"a frame of {length} bytes is over the bound of {self._max}")
            if kind > _LAST_KIND:
                raise WireError(f"a frame of unknown kind {kind}")
            end = HEADER_BYTES + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER_BYTES:end])
            del self._buffer[:end]
            yield Frame(Kind(kind), body)

    def finish(self) -> None:
        """Say that the stream ended; raises `WireError` inside a frame (rule 4)."""
        if self._buffer:
            raise WireError(f"the stream ended inside a frame, {len(self._buffer)} bytes over")


_ENCODER = msgspec.msgpack.Encoder()
_DECODERS: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def encode(message: object) -> bytes:
    """Return `message` (a msgspec struct or plain data) as msgpack."""
    return _ENCODER.encode(message)


def decode(data: bytes | memoryview | msgspec.Raw, as_type: type[T]) -> T:
    """Return msgpack `data` as `as_type`; raises `WireError` naming the field that does not fit."""
    decoder = _DECODERS.get(as_type)
    if decoder is None:
        decoder = _DECODERS[as_type] = msgspec.msgpack.Decoder(as_type)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:  # bad UTF-8 is the last one
        raise WireError(f"{as_type.__name__}: {error}") from error
