"""A msgpack decoder that is slow and plain, written from the specification: what msgspec's is compared with."""

from __future__ import annotations

import struct
from typing import Any

_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_NUMBERS = dict(zip(range(0xCA, 0xD4), (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True))
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class NotMsgpackError(Exception):
    """The bytes are no msgpack of the kinds that tarsd uses (extensions are not)."""


class Reference:
    """Reads one value."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def whole(self) -> Any:
        """Return the value that all the bytes make."""
        value = self.value()
        if self._at != len(self._data):
            raise NotMsgpackError("bytes left over")
        return value

    def value(self) -> Any:
        """Return the next value."""
        first = self._take(1)[0]
        if first <= 0x7F:
            return first
        if first >= 0xE0:
            return first - 256
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            kind = _NUMBERS[first]
            return struct.unpack(kind, self._take(struct.calcsize(kind)))[0]
        return self._sized(first)

    def _sized(self, first: int) -> Any:
        if first <= 0x8F:
            return self._map(first & 0x0F)
        if first <= 0x9F:
            return [self.value() for _ in range(first & 0x0F)]
        if first <= 0xBF:
            return self._text(first & 0x1F)
        if first not in _SIZES:
            raise NotMsgpackError(f"kind {first:#x}")
        size = int.from_bytes(self._take(_SIZES[first]), "big")
        if first <= 0xC6:
            return self._take(size)
        if first <= 0xDB:
            return self._text(size)
        if first <= 0xDD:
            return [self.value() for _ in range(min(size, len(self._data) + 1))]
        return self._map(min(size, len(self._data) + 1))

    def _map(self, size: int) -> dict[Any, Any]:
        return {self.value(): self.value() for _ in range(size)}

    def _text(self, size: int) -> str:
        # The names of unknown fields are not looked at, so they need not be text; `msgspec.convert` sees the rest.
        return self._take(size).decode(errors="backslashreplace")

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise NotMsgpackError("it ends too early")
        self._at += count
        return taken
