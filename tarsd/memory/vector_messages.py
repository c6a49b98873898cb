"""What the daemon and the worker of the vector index say to each other; free of numpy, since the daemon imports it."""

from __future__ import annotations

import msgspec


class VectorSettings(msgspec.Struct, frozen=True):
    """What the index is of, and where its file lies."""

    path: str
    model: str
    dimension: int


class AddRequest(msgspec.Struct, frozen=True, array_like=True):
    """Ids and, side by side in one piece, their vectors (float32, little-endian)."""

    ids: list[int]
    vectors: bytes


class NearestRequest(msgspec.Struct, frozen=True, array_like=True):
    """Ask for the `count` vectors nearest to this one."""

    vector: bytes
    count: int


class NearestItem(msgspec.Struct, frozen=True, array_like=True):
    """Ids and cosines, best first."""

    ids: list[int]
    scores: list[float]


class VectorState(msgspec.Struct, frozen=True, array_like=True):
    """How many vectors the index holds, and why its file could not be read, "" when it could or there was none."""

    vectors: int
    problem: str
