"""The models of a node: tells which it has, gives their files to peers, takes new ones in, removes them.

Rules
1. Any core node that has a file gives it to another, by SHA-256 or by name; the first item says what the whole is.
2. Pulling, removing and listing are for nodes that run models; `fetching` says how a pull goes.
3. Only what tarsd fetched is ever deleted. What is yours is unloaded and stays where it is.
4. The model of [cognitive] is not removed: take it out of the configuration first.

Built by the role `cognitive` where there is one, else by the node itself; no role of a configuration.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tarsd import calls
from tarsd.calls import (
    Model,
    ModelFileItem,
    ModelFileRequest,
    ModelsItem,
    ModelsRequest,
    PullItem,
    PullRequest,
    RemoveModelItem,
    RemoveModelRequest,
)
from tarsd.engines import bundled
from tarsd.engines.base import EngineInfo
from tarsd.engines.residency import Residency
from tarsd.errors import EngineUnavailable, InvalidInput, NotAllowed, NotFound, StorageError
from tarsd.models.shelf import Entry, Shelf
from tarsd.models.sources import check_sha256, name_of
from tarsd.models.speeds import SpeedBook
from tarsd.names import Capability
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.fetching import Pulls
from tarsd.rpc import CallContext, Handler
from tarsd.wire import MIB

_PIECE_BYTES = MIB
_LOOK_AGAIN_S = 5.0  # files that somebody puts there by hand are seen so soon


def shelf_of(services: Services) -> Shelf:
    """Return what this node knows of models: the bundled one where it is installed, the catalog, the store."""
    found: Path | None = None
    with suppress(EngineUnavailable):
        found = bundled.chat_gguf()
    return Shelf(services.config, found)


class Models(Role):
    """Offers `model_file`, and where models run (`residency`) also `models`, `pull` and `remove_model`."""

    name = "models"

    def __init__(
        self,
        services: Services,
        shelf: Shelf | None = None,
        residency: Residency | None = None,
        speeds: SpeedBook | None = None,
    ) -> None:
        self.shelf = shelf or shelf_of(services)
        self._residency = residency
        self._speeds = speeds
        self._seen: list[Entry] = []
        self._looked_at = float("-inf")
        self.pulls = Pulls(services, self.shelf, self._look_again)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        gives: dict[Capability, Handler] = {calls.MODEL_FILE.name: self._give}
        if self._residency is None:
            return gives
        return gives | {
            calls.MODELS.name: self._list,
            calls.PULL.name: self._pull,
            calls.REMOVE_MODEL.name: self._remove,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        gives = any(entry.path is not None for entry in self.of_late())
        return {name: {} for name in self.handlers() if gives or name != calls.MODEL_FILE.name}

    def of_late(self) -> list[Entry]:
        """Return the models as they were a few seconds ago at most: adverts are asked for twice a second."""
        if time.monotonic() - self._looked_at >= _LOOK_AGAIN_S:
            self._looked_at, self._seen = time.monotonic(), self.shelf.entries()
        return self._seen

    async def stop(self) -> None:
        """See `Role`."""
        await self.pulls.stop()

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        return {"folder": str(self.shelf.store.folder)}

    def _look_again(self) -> None:
        self._looked_at = float("-inf")

    # --- giving -------------------------------------------------------------------------------------------------

    async def _give(self, request: ModelFileRequest, context: CallContext) -> AsyncGenerator[ModelFileItem, None]:
        entry = await asyncio.to_thread(self._asked_for, request)
        path = await asyncio.to_thread(self.shelf.verified, entry.name)
        sha256 = await asyncio.to_thread(self.shelf.store.sha256_of, path)
        if request.sha256 and sha256 != request.sha256:
            raise NotFound(f"{entry.name} is here with another SHA-256")
        file = await asyncio.to_thread(_open, path)
        try:
            size = await asyncio.to_thread(_seek, file, request.offset)
            yield ModelFileItem(await asyncio.to_thread(file.read, _PIECE_BYTES), size, sha256)
            while data := await asyncio.to_thread(file.read, _PIECE_BYTES):
                yield ModelFileItem(data)
        finally:
            file.close()

    def _asked_for(self, request: ModelFileRequest) -> Entry:
        """Return the model that is asked for; a hash is known for all after the first question by hash. Blocks."""
        wanted = check_sha256(request.sha256)
        named = self.shelf.entry(request.name) if request.name else None
        if wanted and (named is None or named.path is None or self.shelf.store.sha256_of(named.path) != wanted):
            for entry in self.shelf.entries():
                if entry.path is not None and self.shelf.store.sha256_of(entry.path) == wanted:
                    return entry
            raise NotFound(f"no model with SHA-256 {wanted[:12]}… is here")
        if named is None or named.path is None:
            raise NotFound(f"model {request.name!r} is not here")
        return named

    # --- taking in and removing ---------------------------------------------------------------------------------

    async def _pull(self, request: PullRequest, context: CallContext) -> AsyncGenerator[PullItem, None]:
        async for item in self.pulls.follow(request):
            yield item

    async def _remove(self, request: RemoveModelRequest, context: CallContext) -> AsyncGenerator[RemoveModelItem, None]:
        assert self._residency is not None
        entry = self.shelf.entry(request.name)
        if entry is None:
            raise NotFound(f"model {request.name!r} is not known here")
        if any(info.model == entry.name for info in self._residency.infos()):
            raise NotAllowed(f"{entry.name} is the model of [cognitive] here; take it out of the configuration first")
        if self.pulls.state_of(entry.name) is not None:
            raise NotAllowed(f"{entry.name} is being fetched right now")
        unloaded = await self._residency.unload(entry.name)
        if not entry.is_ours:
            words = f"{entry.path or entry.source} is not tarsd's own and stays"
            yield RemoveModelItem(0, f"unloaded; {words}" if unloaded else words)
            return
        freed = await asyncio.to_thread(self.shelf.store.remove, entry.name)
        self._look_again()
        yield RemoveModelItem(freed, "deleted" if freed else "nothing of it was here")

    # --- telling ------------------------------------------------------------------------------------------------

    async def _list(self, request: ModelsRequest, context: CallContext) -> AsyncGenerator[ModelsItem, None]:
        models = await self.models()
        yield ModelsItem([model for model in models if request.name in ("", model.name)])

    async def models(self) -> list[Model]:
        """Return every model that is here or could be, the own ones first."""
        assert self._residency is not None
        entries, found, own = await asyncio.to_thread(self.shelf.entries), list[Model](), set[str]()
        for info in self._residency.infos():
            same = [entry for entry in entries if info.engine == "llama_cpp" and info.model in _names_of(entry)]
            own |= {entry.name for entry in same}
            found.append(await self._own(info, same[0] if same else None, self._residency))
        return found + [await self._on_demand(entry, self._residency) for entry in entries if entry.name not in own]

    async def _own(self, info: EngineInfo, entry: Entry | None, residency: Residency) -> Model:
        known = await self._described(entry) if entry is not None else Model(info.model, "loaded")
        first = residency.info() == info
        return _changed(
            known,
            name=info.model,
            state="loaded" if residency.engines() else "present",
            engine=info.engine,
            context_tokens=info.context_tokens,
            architecture=info.architecture or known.architecture,
            parameters=info.parameters or known.parameters,
            quantization=info.quantization or known.quantization,
            size_bytes=info.size_bytes or known.size_bytes,
            template=info.template or known.template,
            can_use_tools=info.can_use_tools,
            memory_bytes=residency.memory_bytes() if first else 0,
            expires_s=residency.expires_s(""),
            speed=self._speeds.of(info.engine, info.model) if self._speeds is not None else None,
        )

    async def _on_demand(self, entry: Entry, residency: Residency) -> Model:
        known = await self._described(entry)
        state, reason = residency.state_of(entry.name)
        speed = self._speeds.of_model(entry.name) if self._speeds is not None else None
        if (pull := self.pulls.state_of(entry.name)) is not None:
            told = f"{pull.stage} {pull.done_bytes} of {pull.total_bytes} bytes {pull.reason}".strip()
            return _changed(known, state="pulling", reason=told, size_bytes=pull.total_bytes)
        resident = residency.loaded().get(entry.name)
        if resident is not None:
            info = next(iter(resident.chain.infos()), None)
            return _changed(
                known,
                state="loaded",
                context_tokens=info.context_tokens if info is not None else known.context_tokens,
                can_use_tools=info.can_use_tools if info is not None else False,
                memory_bytes=resident.memory_bytes(),
                expires_s=residency.expires_s(entry.name),
                speed=speed,
            )
        return _changed(known, state=state or known.state, reason=reason or known.reason, speed=speed)

    async def _described(self, entry: Entry) -> Model:
        """Return a model as its file describes it."""
        model = Model(entry.name, "absent", entry.source, entry.sha256, engine="llama_cpp")
        if entry.path is None:
            return model if entry.is_ours else _changed(model, state="failed", reason="there is no such file")
        try:
            facts = await asyncio.to_thread(self.shelf.facts, entry.path)
        except (InvalidInput, StorageError) as error:
            return _changed(model, state="failed", reason=str(error))
        header = facts.header
        return _changed(
            model,
            state="present",
            sha256=self.shelf.store.known_sha256(entry.path) or entry.sha256,
            size_bytes=facts.size_bytes,
            context_tokens=min(header.context_tokens or entry.settings.context_tokens, entry.settings.context_tokens),
            architecture=header.architecture,
            parameters=header.parameters,
            quantization=header.quantization,
            template=header.template,
            modified_at=facts.modified_at,
        )


def names_on_demand(entries: Sequence[Entry], own: Sequence[str], most_bytes: int, most: int = 60) -> list[str]:
    """Pure: return which models can be asked for by name beside the own ones, as far as they can be told in a fact."""
    names: list[str] = []
    used = 0
    for entry in entries:
        can_be_had = entry.path is not None or entry.is_ours
        if not can_be_had or entry.name in own:
            continue
        used += len(entry.name.encode()) + 3  # msgpack's own bytes
        if used > most_bytes or len(names) >= most:
            break
        names.append(entry.name)
    return names


def _names_of(entry: Entry) -> set[str]:
    """Return what a model is called in the catalog, and by an engine that has loaded its file."""
    return {entry.name, name_of(entry.path)} if entry.path is not None else {entry.name}


def _changed(model: Model, **changes: Any) -> Model:
    return msgspec.structs.replace(model, **changes)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error


def _seek(file: BinaryIO, offset: int) -> int:
    """Go to `offset`; return the size."""
    size = file.seek(0, 2)
    if not 0 <= offset <= size:
        raise InvalidInput(f"offset: {offset} is not in a file of {size} bytes")
    file.seek(offset)
    return size
