"""Which models a node knows: the bundled one, those of the catalog, and those in its store.

Rules
1. A name means the catalog's model first, then the bundled one, then a file in the store.
2. A catalog model of a path is used where it is; one of another source is in the store, or absent.
3. Where the catalog tells a SHA-256, a file that has another is never used: one of the store is moved aside, one
   elsewhere is left alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tarsd.config import CatalogModel, Config
from tarsd.errors import InvalidInput, NotFound, StorageError
from tarsd.models import gguf
from tarsd.models.sources import check_name, is_hub, name_of
from tarsd.models.store import ModelStore, header_of


class Entry(msgspec.Struct, frozen=True):
    """One model: `path` is its file, where it is here. `is_ours`: tarsd fetched it, and may delete it."""

    name: str
    source: str
    path: Path | None
    is_ours: bool
    settings: CatalogModel

    @property
    def sha256(self) -> str:
        """What its file must be; "" = anything."""
        return self.settings.sha256


class Facts(msgspec.Struct, frozen=True):
    """What is known of a model's file."""

    header: gguf.Header
    size_bytes: int
    modified_at: float


class Shelf:
    """What the configuration and the disk say; asked anew each time, since files come and go."""

    def __init__(self, config: Config, bundled: Path | None) -> None:
        self.store = ModelStore(config.models.dir or config.node.data_dir / "models")
        self._bundled = bundled
        self._catalog = {model.name: model for model in config.models.catalog}
        self._facts: dict[tuple[str, int, int], Facts] = {}

    def entries(self) -> list[Entry]:
        """Return every model, the bundled one first."""
        names = [name_of(self._bundled)] if self._bundled is not None else []
        names += [*self._catalog, *self.store.names()]
        return [entry for name in dict.fromkeys(names) if (entry := self.entry(name)) is not None]

    def entry(self, name: str) -> Entry | None:
        """Return the model of that name; None for one that nobody here knows (rule 1)."""
        if (listed := self._catalog.get(name)) is not None:
            return self._of_catalog(listed)
        if self._bundled is not None and name == name_of(self._bundled):
            return Entry(name, "bundled", self._bundled, False, CatalogModel(name=name))
        try:
            path = self.store.path_of(name)
        except InvalidInput:
            return None
        return Entry(name, "", path, True, CatalogModel(name=name)) if path.is_file() else None

    def verified(self, name: str) -> Path:
        """Return a model's file, checked (rule 3); raises `NotFound`, `InvalidInput`, `StorageError`. Blocks."""
        entry = self.entry(name)
        if entry is None or entry.path is None:
            raise NotFound(f"the file of model {name!r} is not here")
        if entry.sha256 and (found := self.store.sha256_of(entry.path)) != entry.sha256:
            aside = ""
            if entry.is_ours:
                os.replace(entry.path, entry.path.with_name(entry.path.name + ".wrong"))
                aside = ", it was moved aside"
            raise InvalidInput(f"{entry.path}: its SHA-256 is {found}, the catalog says {entry.sha256}{aside}")
        self.facts(entry.path)
        return entry.path

    def facts(self, path: Path) -> Facts:
        """Return what is known of a file; raises `InvalidInput`, `StorageError`. Blocks, the first time."""
        try:
            state = path.stat()
            key = (str(path), state.st_size, state.st_mtime_ns)
            if key not in self._facts:
                self._facts[key] = Facts(header_of(path), state.st_size, state.st_mtime)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror or error}") from error
        return self._facts[key]

    def _of_catalog(self, listed: CatalogModel) -> Entry:
        if listed.source and not is_hub(listed.source):
            path = Path(listed.source).expanduser()
            return Entry(listed.name, listed.source, path if path.is_file() else None, False, listed)
        path = self.store.path_of(check_name(listed.name))
        return Entry(listed.name, listed.source, path if path.is_file() else None, True, listed)
