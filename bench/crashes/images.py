"""What a disk may hold after the power went, given what was written and synced before: the model, as a pure function.

Model
1. What a file was at its last sync is safe. Of what came after, each 512-byte sector of each write is there or not, on
   its own and in any order: a later write may be there and an earlier one not. Within a sector nothing is torn, and
   nothing outside of what was written is harmed (what SQLite's manual calls powersafe overwrite).
2. A sector that is not there is as it was before, zero where the file had not reached, or, in a fifth of the crashes,
   noise: the drive was in the middle of it.
3. A truncation that was not synced has happened or not. So has a creation or deletion of a file whose folder was not
   synced since; those in their order, as journaling file systems keep it.
4. A drive that says "synced" and is not, and a page of the system that goes bad by itself, are not modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from bench.crashes.disk import Event

SECTOR_BYTES = 512


@dataclass
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)


class Disk:
    """Files by path, as far as they are safe and as far as they are not."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._names = {path: _File(bytearray(content)) for path, content in files.items()}
        self._safe_names = dict(self._names)
        self._pending_names: list[tuple[str, _File | None]] = []

    def take(self, event: Event) -> None:
        """Let one thing happen."""
        match event:
            case ("create", path):
                if path not in self._names:
                    self._name(path, _File())
            case ("delete", path, syncs_folder):
                self._name(path, None)
                if syncs_folder:
                    self._sync_folder()
            case ("sync", path, syncs_folder):
                file = self._names[path]
                for each in file.pending:
                    _apply(file.synced, each)
                file.pending.clear()
                if syncs_folder:
                    self._sync_folder()
            case (_, path, *_):
                self._names[path].pending.append(event)

    def _name(self, path: str, file: _File | None) -> None:
        self._pending_names.append((path, file))
        if file is None:
            self._names.pop(path, None)
        else:
            self._names[path] = file

    def _sync_folder(self) -> None:
        self._safe_names = dict(self._names)
        self._pending_names.clear()

    def crashed(self, random: Random) -> dict[str, bytes]:
        """Return what the disk may hold if the power goes now."""
        names = dict(self._safe_names)
        for path, file in self._pending_names[: random.randint(0, len(self._pending_names))]:
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file
        # nothing, all, most, few: an even coin alone would almost never leave a long write whole
        kept = random.choice((0.0, 1.0, 0.9, 0.5, 0.1))
        is_noisy = random.random() < 0.2
        return {path: _left(file, kept, random, is_noisy=is_noisy) for path, file in names.items()}


def _left(file: _File, kept: float, random: Random, *, is_noisy: bool) -> bytes:
    content = bytearray(file.synced)
    for event in file.pending:
        if event[0] == "truncate":
            if random.random() < kept:
                _apply(content, event)
            continue
        _, path, offset, data = event
        for start, end in _sectors(offset, len(data)):
            part = data[start - offset : end - offset]
            if random.random() < kept:
                _apply(content, ("write", path, start, part))
            elif is_noisy:
                _apply(content, ("write", path, start, random.randbytes(len(part))))
    return bytes(content)


def _sectors(offset: int, size: int) -> list[tuple[int, int]]:
    """Cut a range where sectors end."""
    cuts = range(offset - offset % SECTOR_BYTES, offset + size, SECTOR_BYTES)
    return [(max(offset, cut), min(offset + size, cut + SECTOR_BYTES)) for cut in cuts]


def _apply(content: bytearray, event: Event) -> None:
    if event[0] == "truncate":
        size = event[2]
        del content[size:]
        content.extend(bytes(size - len(content)))
        return
    _, _, offset, data = event
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data
