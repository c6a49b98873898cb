"""One small JSON file that is replaced whole; one that cannot be read is set aside and told of, never trusted.

Rules
1. Temporary file, fsync, rename: a crash leaves the old one or the new one.
2. A file that is not what it should be becomes `*.broken`, with a warning, and counts as absent: all that is kept here
   can be found out again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from tarsd.errors import StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Notes(Generic[T]):
    """What stands in the file at `path`, as `as_type`. Blocks: not for an event loop, except where it is tiny."""

    def __init__(self, path: Path, as_type: type[T]) -> None:
        self._path = path
        self._as_type = as_type

    def read(self) -> T | None:
        """Return what is there; None for nothing, or for what cannot be read (rule 2)."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=self._as_type)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            aside = self._path.with_name(self._path.name + ".broken")
            log.warning("%s cannot be read and is set aside as %s: %s", self._path, aside.name, error)
            os.replace(self._path, aside)
            return None
        except OSError as error:
            log.warning("%s cannot be read: %s", self._path, error)
            return None

    def write(self, value: T) -> None:
        """Replace what is there; raises `StorageError`."""
        beside = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(msgspec.json.encode(value))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror or error}") from error
