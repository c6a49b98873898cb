"""Small files that are GGUF to the reader, of any size, and different from each other."""

from __future__ import annotations

import hashlib
import random
import struct


def gguf_bytes(seed: int = 0, size: int = 3_000_000) -> bytes:
    """Return a valid header and then noise: a file of `size` bytes."""
    key, name = b"general.name", f"model {seed}".encode()
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    header += struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(name)) + name
    return header + random.Random(seed).randbytes(size - len(header))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
