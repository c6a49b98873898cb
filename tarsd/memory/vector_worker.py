"""The vector index itself, run in a worker process: FAISS, exact inner product over normalised vectors.

Rules
1. The store is the truth; this index may be thrown away at any time and is filled again.
2. A file is saved beside, flushed to disk, then put in place: a kill leaves the old one or the new one, whole.
3. A file ends with its model, dimension and a checksum over all before it; it is read only when they fit, since FAISS
   itself may crash, or ask for absurd memory, on a damaged file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import faiss
import msgspec
import numpy as np

from tarsd.errors import InvalidInput, StorageError
from tarsd.memory.vector_messages import (
    AddRequest,
    Digest,
    NearestItem,
    NearestRequest,
    VectorSettings,
    VectorState,
    digest_of,
)
from tarsd.wire import decode, encode

_IDS_AT_ONCE = 100_000  # at most nine bytes each: well within a frame
_DIGESTS_AT_ONCE = 20_000
_READ_BYTES = 1 << 20
_END_MARK = b"tarsd-vectors-1\n"
_TRAILER_BYTES = 4096  # the end of a file that certainly holds the whole trailer


class _Trailer(msgspec.Struct, frozen=True, array_like=True):
    model: str
    dimension: int
    sha256: bytes


class VectorWorker:
    """One index, built from its file or empty. Methods are called by `tarsd.workers`; items are msgpack."""

    def __init__(self, settings: bytes) -> None:
        self._settings = decode(settings, VectorSettings)
        self._path = Path(self._settings.path)
        self._problem = ""
        faiss.omp_set_num_threads(1)  # an exact search of 100,000 takes 10 ms on one core; the rest is the model's
        self._index = self._read() or self._empty()

    def state(self, request: bytes) -> Iterator[bytes]:
        """Yield one `VectorState`."""
        yield encode(VectorState(self._index.ntotal, self._problem))

    def ids(self, request: bytes) -> Iterator[bytes]:
        """Yield the ids that are in, as lists of whole numbers."""
        held = self._held()
        for first in range(0, len(held), _IDS_AT_ONCE):
            yield encode(held[first : first + _IDS_AT_ONCE].tolist())

    def add(self, request: bytes) -> Iterator[bytes]:
        """Put vectors in; an id that is in gets its new one. Yields nothing."""
        asked = decode(request, AddRequest)
        ids = np.array(asked.ids, "int64")
        vectors = self._vectors(asked.vectors, len(ids))
        self._remove(ids[np.isin(ids, self._held())])
        self._index.add_with_ids(vectors, ids)
        yield b""

    def remove(self, request: bytes) -> Iterator[bytes]:
        """Take out a list of ids; unknown ones do not matter. Yields nothing."""
        self._remove(np.array(decode(request, list[int]), "int64"))
        yield b""

    def clear(self, request: bytes) -> Iterator[bytes]:
        """Take out all. Yields nothing."""
        self._index = self._empty()
        self._problem = ""
        yield b""

    def nearest(self, request: bytes) -> Iterator[bytes]:
        """Yield one `NearestItem`."""
        asked = decode(request, NearestRequest)
        vector = self._vectors(asked.vector, 1)
        count = min(asked.count, self._index.ntotal)
        if count < 1:
            yield encode(NearestItem([], []))
            return
        chosen = faiss.IDSelectorRange(asked.first, asked.end)
        scores, ids = self._index.search(vector, count, params=faiss.SearchParameters(sel=chosen))  # type: ignore[call-arg]
        found = int((ids[0] >= 0).sum())  # the rest is filled with -1
        yield encode(NearestItem(ids[0][:found].tolist(), scores[0][:found].tolist()))

    def digests(self, request: bytes) -> Iterator[bytes]:
        """Yield a `Digest` of all that is in, in pieces."""
        held = self._held()
        for first in range(0, len(held), _DIGESTS_AT_ONCE):
            last = min(first + _DIGESTS_AT_ONCE, len(held))
            vectors = self._index.index.reconstruct_n(first, last - first)  # in the order of the id map
            digests = b"".join(digest_of(vector.tobytes()) for vector in vectors)
            yield encode(Digest(held[first:last].tolist(), digests))

    def save(self, request: bytes) -> Iterator[bytes]:
        """Save the file (rule 2). Yields nothing; raises `StorageError` and leaves the old one."""
        try:
            self._save()
        except (OSError, RuntimeError) as error:
            raise StorageError(f"the vector index cannot be saved: {error}") from error
        self._problem = ""
        yield b""

    # --- within -----------------------------------------------------------------------------------------------

    def _empty(self) -> faiss.IndexIDMap2:
        return faiss.IndexIDMap2(faiss.IndexFlatIP(self._settings.dimension))

    def _held(self) -> np.ndarray:
        return faiss.vector_to_array(self._index.id_map)  # type: ignore[no-any-return]

    def _remove(self, ids: np.ndarray) -> None:
        if len(ids):
            self._index.remove_ids(faiss.IDSelectorBatch(ids))

    def _vectors(self, data: bytes, count: int) -> np.ndarray:
        if len(data) != count * self._settings.dimension * 4:
            raise InvalidInput(f"vectors: {len(data)} bytes are not {count} of dimension {self._settings.dimension}")
        vectors: np.ndarray = np.frombuffer(data, "<f4").reshape(count, -1).astype("float32")
        return vectors

    def _save(self) -> None:
        temporary = self._path.with_name(self._path.name + ".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(self._index, str(temporary))
        with temporary.open("r+b") as file:
            trailer = encode(_Trailer(self._settings.model, self._settings.dimension, _sha256(temporary, -1)))
            file.seek(0, os.SEEK_END)
            file.write(trailer + len(trailer).to_bytes(2, "big") + _END_MARK)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self) -> faiss.IndexIDMap2 | None:
        if not self._path.exists():
            return None
        try:
            self._check_file()
            index = faiss.read_index(str(self._path))
            if not isinstance(index, faiss.IndexIDMap2):
                raise InvalidInput("it is an index of another kind")
        except (OSError, RuntimeError, InvalidInput) as error:
            self._problem = f"the file of the vector index was not used: {error}"
            return None
        return index

    def _check_file(self) -> None:
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TRAILER_BYTES))
            end = file.read()
        if not end.endswith(_END_MARK):
            raise InvalidInput("it is damaged or unfinished")
        end = end[: -len(_END_MARK)]
        length = int.from_bytes(end[-2:], "big")
        trailer = decode(end[-2 - length : -2], _Trailer)
        if (trailer.model, trailer.dimension) != (self._settings.model, self._settings.dimension):
            raise InvalidInput(f"it is of the model {trailer.model} with dimension {trailer.dimension}")
        if _sha256(self._path, size - len(_END_MARK) - 2 - length) != trailer.sha256:
            raise InvalidInput("it is damaged: the checksum does not fit")


def _sha256(path: Path, size: int) -> bytes:
    """Return the SHA-256 of a file's first `size` bytes, of all with -1."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while size and (piece := file.read(_READ_BYTES if size < 0 else min(size, _READ_BYTES))):
            found.update(piece)
            size -= len(piece) if size > 0 else 0
    return found.digest()
