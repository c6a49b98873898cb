"""What the daemon and the worker of the vector index say to each other; free of numpy, since the daemon imports it."""

from __future__ import annotations

import hashlib

import msgspec

DIGEST_BYTES = 8


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
    """Ask for the `count` vectors nearest to this one, of ids from `first` to before `end`."""

    vector: bytes
    count: int
    first: int = 0
    end: int = 1 << 62


class Digest(msgspec.Struct, frozen=True, array_like=True):
    """Ids and, side by side, 8 bytes of the digest of each one's vector."""

    ids: list[int]
    digests: bytes


class NearestItem(msgspec.Struct, frozen=True, array_like=True):
    """Ids and cosines, best first."""

    ids: list[int]
    scores: list[float]


class VectorState(msgspec.Struct, frozen=True, array_like=True):
    """How many vectors the index holds, and why its file could not be read, "" when it could or there was none."""

    vectors: int
    problem: str


def digest_of(vector: bytes) -> bytes:
    """Return what tells one vector from another."""
    return hashlib.blake2b(vector, digest_size=DIGEST_BYTES).digest()
