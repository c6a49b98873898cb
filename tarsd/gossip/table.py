"""What gossip keeps on disk: this node's generation, and everybody it ever met.

Rules
1. The generation is written and synced before a boot speaks: two boots never share one.
2. Files are replaced whole (temporary file, fsync, rename, fsync of the folder): a crash leaves the old or the new.
3. A table that cannot be read is put aside and begun anew: peers will greet us; it holds addresses, no authority.
4. A generation that cannot be read counts as lost: peers tell what they last saw, and we go on above it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import msgspec

from tarsd.errors import StorageError
from tarsd.gossip.greetings import GENERATION_MAX
from tarsd.gossip.member import Met

log = logging.getLogger(__name__)


class Table:
    """The two files; every method blocks and belongs in a thread once a loop runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._generation_file = folder / "generation"
        self._peers_file = folder / "peers.json"

    def next_generation(self) -> int:
        """Return this boot's generation, already on disk; raises `StorageError`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            text = self._generation_file.read_text(encoding="ascii")
            last = int(text)
            if last >= GENERATION_MAX:
                raise ValueError(f"{last} starts cannot be")
        except FileNotFoundError:
            last = 0
        except (OSError, ValueError) as error:
            log.warning("%s: cannot be read, begun anew: %s", self._generation_file, error)
            last = 0
        generation = max(last, 0) + 1
        self.keep_generation(generation)
        return generation

    def keep_generation(self, generation: int) -> None:
        """Write the generation; raises `StorageError`."""
        _replace(self._generation_file, f"{generation}\n".encode())

    def read(self) -> list[Met]:
        """Return everybody ever met."""
        try:
            return msgspec.json.decode(self._peers_file.read_bytes(), type=list[Met])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s: cannot be read, put aside: %s", self._peers_file, error)
            with contextlib.suppress(OSError):
                os.replace(self._peers_file, self._peers_file.with_suffix(".broken"))
            return []

    def write(self, members: list[Met]) -> None:
        """Write everybody ever met; raises `StorageError`."""
        _replace(self._peers_file, msgspec.json.format(msgspec.json.encode(members), indent=1))


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
