"""Records what SQLite does to the disk: every write, truncation, sync, creation and deletion, in order.

The very SQLite that the daemon uses is listened to: the functions of its default VFS are wrapped in place, so nothing
of its choice of when to sync is changed. For a process of its own, which does nothing else. Source of the structures:
sqlite.org/c3ref/vfs.html and c3ref/io_methods.html.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable
from typing import Any

Event = tuple[Any, ...]

_OK = 0
_CREATE = 0x4
_JOURNALS = 0x800 | 0x4000 | 0x80000  # main journal, super journal, WAL: their first sync syncs the folder too
_METHODS_BYTES = 8 + 18 * 8
_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)
_DELETE = ctypes.CFUNCTYPE(_I, _P, _P, _I)
_CLOSE = ctypes.CFUNCTYPE(_I, _P)
_WRITE = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _L)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", _I),
        ("file_bytes", _I),
        ("path_bytes", _I),
        ("next", _P),
        ("name", ctypes.c_char_p),
        ("data", _P),
        ("open", _P),
        ("delete", _P),
    ]


class _Methods(ctypes.Structure):
    _fields_ = [("version", _I), ("close", _P), ("read", _P), ("write", _P), ("truncate", _P), ("sync", _P)]


_installed: list[Recorder] = []  # SQLite points to them for as long as the process lives


class Recorder:
    """Tells `note` of everything that happens to files whose path begins with `prefix`.

    ("create", path), ("write", path, offset, bytes), ("truncate", path, size), ("sync", path, whether the folder was
    synced with it), ("delete", path, whether the folder was synced with it). It stays installed.
    """

    def __init__(self, prefix: str, note: Callable[[Event], None]) -> None:
        _installed.append(self)
        self._prefix = prefix
        self._note = note
        self._open: dict[int, str] = {}
        self._syncs_folder: set[int] = set()
        self._kept: list[Any] = []  # what C points to
        self._methods: dict[int, ctypes.Array[ctypes.c_char]] = {}
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        vfs = library.sqlite3_vfs_find(None).contents
        self._real_open, self._real_delete = _OPEN(vfs.open), _DELETE(vfs.delete)
        vfs.open = self._pointer(_OPEN(self._opening))
        vfs.delete = self._pointer(_DELETE(self._deleting))

    def _pointer(self, function: Any) -> Any:
        self._kept.append(function)
        return ctypes.cast(function, _P)

    def _opening(self, vfs: int, name: int, file: int, flags: int, out: int) -> int:
        path = (ctypes.string_at(name) if name else b"").decode()
        is_new = flags & _CREATE
        result: int = self._real_open(vfs, name, file, flags, out)
        if result == _OK and path.startswith(self._prefix):
            self._open[file] = path
            if is_new:
                self._note(("create", path))
            if is_new and flags & _JOURNALS:
                self._syncs_folder.add(file)
            self._wrap(file)
        return result

    def _wrap(self, file: int) -> None:
        """Give an open file our functions in the place of four of its own."""
        place = ctypes.cast(file, ctypes.POINTER(_P))
        real = place[0]
        if real not in self._methods:
            copy = ctypes.create_string_buffer(ctypes.string_at(real, _METHODS_BYTES), _METHODS_BYTES)
            theirs, ours = _Methods.from_address(real), _Methods.from_buffer(copy)
            ours.close = self._pointer(_CLOSE(self._closing(_CLOSE(theirs.close))))
            ours.write = self._pointer(_WRITE(self._writing(_WRITE(theirs.write))))
            ours.truncate = self._pointer(_TRUNCATE(self._truncating(_TRUNCATE(theirs.truncate))))
            ours.sync = self._pointer(_SYNC(self._syncing(_SYNC(theirs.sync))))
            self._methods[real] = copy
        place[0] = ctypes.addressof(self._methods[real])

    def _deleting(self, vfs: int, name: int, syncs_folder: int) -> int:
        path = ctypes.string_at(name).decode()
        result: int = self._real_delete(vfs, name, syncs_folder)
        if result == _OK and path.startswith(self._prefix):
            self._note(("delete", path, bool(syncs_folder)))
        return result

    def _closing(self, real: Any) -> Callable[[int], int]:
        def close(file: int) -> int:
            self._open.pop(file, None)
            self._syncs_folder.discard(file)
            return int(real(file))

        return close

    def _writing(self, real: Any) -> Callable[[int, int, int, int], int]:
        def write(file: int, data: int, size: int, offset: int) -> int:
            result = int(real(file, data, size, offset))
            if result == _OK:
                self._note(("write", self._open[file], offset, ctypes.string_at(data, size)))
            return result

        return write

    def _truncating(self, real: Any) -> Callable[[int, int], int]:
        def truncate(file: int, size: int) -> int:
            result = int(real(file, size))
            if result == _OK:
                self._note(("truncate", self._open[file], size))
            return result

        return truncate

    def _syncing(self, real: Any) -> Callable[[int, int], int]:
        def sync(file: int, flags: int) -> int:
            result = int(real(file, flags))
            if result == _OK:
                self._note(("sync", self._open[file], file in self._syncs_folder))
                self._syncs_folder.discard(file)
            return result

        return sync
