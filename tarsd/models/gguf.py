"""Reads what a GGUF file says of itself. Pure: takes an open file, believes nothing in it.

Rules
1. Any bytes are a `Header` or `InvalidInput`: no other error, no endless loop, no memory beyond the bounds below.
2. What is kept is a few short values; the vocabulary and its like are stepped over, never held.
3. A count or length is believed only as far as the file is long.
4. Where a file does not tell its number of parameters, they are counted from its tensors.

Source: ggml `docs/gguf.md`, versions 2 and 3. The package `gguf` reads the same with numpy, which a lean node has not.
"""

from __future__ import annotations

import math
import struct
from typing import BinaryIO

import msgspec

from tarsd.errors import InvalidInput

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_ENTRIES = 65_536  # key-values, and tensors: real files have below 100 and below 3,000
_MAX_STEPS = 8_000_000  # elements of arrays that are walked one by one: the largest vocabulary has 0.3 million
_MAX_DEPTH = 3  # arrays within arrays
_MAX_DIMENSIONS = 8
_MAX_KEY_BYTES = 1024
_MAX_KEPT_BYTES = 256 * 1024  # of one text: the longest chat templates have 20 KiB
_MAX_SAID_BYTES = 1024 * 1024  # of all texts that are kept
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

# general.file_type, by ggml's `llama_ftype`
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip

Value = str | int | float | bool


class Header(msgspec.Struct, frozen=True):
    """What a model's file says of itself; "" and 0 where it does not.

    `cache_bytes_per_token`: what one token takes in a cache of 16-bit keys and values, an upper bound.
    """

    architecture: str = ""
    name: str = ""
    parameters: int = 0
    quantization: str = ""
    context_tokens: int = 0
    template: str = ""
    cache_bytes_per_token: int = 0


def read_header(file: BinaryIO, size_bytes: int) -> Header:
    """Return what `file`, open at its beginning and `size_bytes` long, says of itself; raises `InvalidInput`."""
    reader = _Reader(file, size_bytes)
    if reader.take(4) != MAGIC:
        raise InvalidInput("it does not begin as a GGUF file does")
    version = reader.number("<I")
    if version not in _VERSIONS:
        raise InvalidInput(f"GGUF version {version} is unknown; versions 2 and 3 are read")
    tensors, entries = reader.number("<Q"), reader.number("<Q")
    if tensors > _MAX_ENTRIES or entries > _MAX_ENTRIES:
        raise InvalidInput(f"{tensors} tensors and {entries} values are more than any model has")
    said: dict[str, Value] = {}
    kept = 0
    for _ in range(entries):
        key = reader.text(_MAX_KEY_BYTES)
        value = reader.value(reader.number("<I"))
        if isinstance(value, str) and (kept := kept + len(value)) > _MAX_SAID_BYTES:
            raise InvalidInput("its header holds more text than any model's")
        if value is not None:
            said[key] = value
    return _header(said, reader.parameters(tensors))


def _header(said: dict[str, Value], counted: int) -> Header:
    architecture = _text(said, "general.architecture")
    return Header(
        architecture=architecture,
        name=_text(said, "general.name"),
        parameters=_number(said, "general.parameter_count") or counted,
        quantization=_FILE_TYPES.get(_number(said, "general.file_type", none=-1), ""),
        context_tokens=_number(said, f"{architecture}.context_length"),
        template=_text(said, "tokenizer.chat_template"),
        cache_bytes_per_token=_cache_bytes_per_token(said, architecture),
    )


def _cache_bytes_per_token(said: dict[str, Value], architecture: str) -> int:
    def of(key: str) -> int:
        return min(_number(said, f"{architecture}.{key}"), 1 << 20)  # no real one comes near

    heads = of("attention.head_count")
    size = of("embedding_length") // heads if heads else 0
    each = (of("attention.key_length") or size) + (of("attention.value_length") or size)
    return 2 * of("block_count") * (of("attention.head_count_kv") or heads) * each


def _text(said: dict[str, Value], key: str) -> str:
    value = said.get(key)
    return value if isinstance(value, str) else ""


def _number(said: dict[str, Value], key: str, none: int = 0) -> int:
    value = said.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else none


class _Reader:
    """Walks over a file and never beyond its end."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._left = size_bytes
        self._steps = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        self._spend(count)
        data = self._file.read(count)
        if len(data) != count:
            raise InvalidInput("the file ends within its header")
        return data

    def skip(self, count: int) -> None:
        """Step over bytes."""
        self._spend(count)
        self._file.seek(count, 1)

    def number(self, form: str) -> int:
        """Return an integer."""
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def text(self, most_bytes: int) -> str:
        """Return a text that may not be longer than `most_bytes`."""
        length = self.number("<Q")
        if length > most_bytes:
            raise InvalidInput(f"a name of {length} bytes is over the bound of {most_bytes}")
        return self.take(length).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Value | None:
        """Return a value; None for one that is stepped over (rule 2)."""
        self._step()
        if kind == _STRING:
            length = self.number("<Q")
            if depth or length > _MAX_KEPT_BYTES:
                self.skip(length)
                return None
            return self.take(length).decode("utf-8", errors="replace")
        if kind == _ARRAY:
            self._skip_array(depth + 1)
            return None
        form = _SCALARS.get(kind)
        if form is None:
            raise InvalidInput(f"a value of unknown kind {kind}")
        value: Value = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def parameters(self, tensors: int) -> int:
        """Return how many numbers all tensors have; reads their descriptions."""
        total = 0
        for _ in range(tensors):
            self._step()
            self.text(_MAX_KEY_BYTES)
            dimensions = self.number("<I")
            if dimensions > _MAX_DIMENSIONS:
                raise InvalidInput(f"a tensor of {dimensions} dimensions")
            total += math.prod(struct.unpack(f"<{dimensions}Q", self.take(8 * dimensions)))
            self.skip(12)  # its type and place
        return min(total, 2**63 - 1)

    def _skip_array(self, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise InvalidInput("arrays within arrays within arrays")
        kind, count = self.number("<I"), self.number("<Q")
        if kind in _SCALARS:
            self.skip(count * struct.calcsize(_SCALARS[kind]))
            return
        if count > _MAX_STEPS:
            raise InvalidInput(f"an array of {count} elements is over the bound of {_MAX_STEPS}")
        for _ in range(count):
            self.value(kind, depth)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise InvalidInput("the header has more in it than any model's")

    def _spend(self, count: int) -> None:
        if count > self._left:
            raise InvalidInput("the file ends within its header")
        self._left -= count
