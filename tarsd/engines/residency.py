"""The models of a node in memory: its own, which is always there, and others that are loaded when they are asked for.

Rules
1. A request that names a model that this node can load gets that one, loaded first if need be; any other request is the
   node's own engines', which know best whom they mean.
2. A model is loaded once for all who ask for it meanwhile; they are told that it loads. It stays when they leave.
3. Models are loaded one after another; who leaves memory for whom, and when, is decided in `residents`.
4. A model that is to be unloaded at once is, when its last answer ends; one in use stays as long as it is.
5. Where even the node's own model leaves when it is idle, it counts as ready: its next request loads it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import psutil

from tarsd import calls, config
from tarsd.engines.base import ChatEngine, EngineInfo
from tarsd.engines.chain import EngineChain
from tarsd.engines.occupancy import Occupancy
from tarsd.engines.resident import OWN, Loadable, Resident, until_ready
from tarsd.errors import DeadlineExceeded, EngineUnavailable
from tarsd.wire import MIB

_log = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.6  # of the PC, where no bound is set
TELL_S = 4.0  # who waits for a model is told so often that it loads
_LOOK_S = 0.05

Build = Callable[[Sequence[config.Engine]], EngineChain]


class Residency:
    """What the role `cognitive` generates with.

    `own`: the engines of [cognitive]; `own_bytes`: what they will take; `own_names`: by which they are asked for too.
    `find` says how to load a model by its name, None for one that is unknown here; it may raise a `TarsdError` where it
    is known and cannot be used, and is called in a thread. `fetch` yields while a model's file is being brought here,
    and returns at once where it is.
    """

    def __init__(
        self,
        own: Sequence[config.Engine],
        settings: config.Models,
        build: Build,
        find: Callable[[str], Loadable | None],
        *,
        own_bytes: int = 0,
        own_names: Sequence[str] = (),
        fetch: Callable[[str], AsyncGenerator[None, None]] | None = None,
        total_bytes: Callable[[], int] = lambda: int(psutil.virtual_memory().total),
        available_bytes: Callable[[], int] = lambda: int(psutil.virtual_memory().available),
    ) -> None:
        self._own = own
        self._settings = settings
        self._build = build
        self._find = find
        self._fetch = fetch
        bound_bytes = settings.memory_mib * MIB or int(total_bytes() * SHARE_OF_MEMORY)
        self._memory = Occupancy(bound_bytes, available_bytes, self._leaving, own_stays=not settings.unload_idle_s)
        self._here = self._memory.here
        self._own_bytes = own_bytes
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._last_infos: list[EngineInfo] = []  # of the own engines, for while they are unloaded
        self._also_own = frozenset(own_names)
        self._own_names: set[str] = set()
        self.load_s: dict[tuple[str, str], float] = {}  # (engine, model): how long its last load took

    # --- the node's own engines ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to load the node's own engines and return."""
        self._here[OWN] = await self._started(OWN, self._own, self._own_bytes, self._own_keep_s())
        self._tasks.append(asyncio.create_task(self._watch_own(self._here[OWN]), name="load times"))
        self._tasks.append(asyncio.create_task(self._memory.run(), name="unload models"))

    async def stop(self) -> None:
        """Unload all, within a few seconds."""
        tasks = [*self._tasks, *self._loading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        leaving = list(self._here.values())
        self._here.clear()
        await asyncio.gather(*(resident.chain.stop() for resident in leaving))

    async def keep_nothing(self) -> None:
        """Have every model in memory drop what it keeps of questions that were answered; raises as an engine does."""
        await asyncio.gather(*(resident.chain.keep_nothing() for resident in list(self._here.values())))

    @property
    def ready(self) -> bool:
        """Whether a request that names no model can be answered: now, or once the own engines are loaded again."""
        own = self._here.get(OWN)
        return own.chain.ready if own is not None else bool(self._last_infos)

    def infos(self) -> list[EngineInfo]:
        """Return what the own engines offer, in order; while they are unloaded what they offered before."""
        own = self._here.get(OWN)
        if own is None:
            return self._last_infos
        self._last_infos = own.chain.infos() or self._last_infos
        return own.chain.infos()

    def info(self) -> EngineInfo | None:
        """Return the engine that would answer a request that names no model."""
        return next(iter(self.infos()), None)

    def engines(self) -> Sequence[ChatEngine]:
        """Return the own engines, while they are loaded."""
        own = self._here.get(OWN)
        return own.chain.engines if own is not None else []

    @property
    def reasons(self) -> dict[str, str]:
        """Why an own engine cannot be used, and why a model could not be loaded, by name."""
        own = self._here.get(OWN)
        return (own.chain.reasons if own is not None else {}) | self._failed

    @property
    def circuits(self) -> dict[str, str]:
        """How the circuit breaker of each own engine stands, while they are loaded."""
        own = self._here.get(OWN)
        return dict(own.chain.circuits) if own is not None else {}

    @property
    def slots(self) -> int:
        """How many answers the own engines generate at once."""
        info = self.info()
        return info.slots if info is not None else 1

    def ended(self) -> bool:
        """Tell whether a task ended that never should."""
        return any(resident.chain.ended() for resident in self._here.values()) or any(
            task.done() for task in self._tasks if task.get_name() != "load times"
        )

    # --- all of them --------------------------------------------------------------------------------------------

    def load(self) -> tuple[int, int, float]:
        """Return (waiting, running, tokens per second of late) over all models; the speed is the own engines'."""
        loads = {name: resident.chain.load() for name, resident in self._here.items()}
        speed = loads[OWN][2] if OWN in loads else 0.0
        return sum(load[0] for load in loads.values()), sum(load[1] for load in loads.values()), speed

    @property
    def is_busy(self) -> bool:
        """Whether any model generates, background work too."""
        return any(resident.chain.is_busy for resident in self._here.values())

    def loaded(self) -> Mapping[str, Resident]:
        """Return the models that were loaded on demand, by name."""
        return {name: resident for name, resident in self._here.items() if name != OWN}

    def state_of(self, name: str) -> tuple[str, str]:
        """Return ("loaded", "loading", "failed" or "", why) of a model that is loaded on demand."""
        if name in self._here:
            return "loaded", ""
        if name in self._loading:
            return "loading", ""
        return ("failed", self._failed[name]) if name in self._failed else ("", "")

    def expires_s(self, name: str) -> float | None:
        """Return in how many seconds a model will be unloaded if nobody asks for it; None = never, or it is busy."""
        resident = self._here.get(name)
        ends = None if resident is None else self._memory.occupant(resident).leaves_at
        return None if ends is None else max(0.0, ends - asyncio.get_running_loop().time())

    def memory_bytes(self) -> int:
        """Return what the own engines take now."""
        own = self._here.get(OWN)
        return own.memory_bytes() if own is not None else 0

    def workers(self) -> dict[str, Any]:
        """Return all workers: of the own engines by engine, of the others by model."""
        found: dict[str, Any] = {}
        for name, resident in self._here.items():
            found |= {name or engine: worker for engine, worker in resident.workers().items()}
        return found

    async def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield the answer, before it `ChatItem(loading=True)` while a model is loaded; see `EngineChain.generate`.

        Raises also `EngineUnavailable` when the model does not fit here, `Overloaded` when others must be done first.
        """
        deadline = asyncio.get_running_loop().time() + deadline_s
        name = await self._meant(request.model)
        self._memory.users[name] += 1  # also while it loads: else one that is not kept would leave before it is used
        try:
            while (resident := self._here.get(name)) is None:
                async with aclosing(self._getting(name, deadline)) as waiting:
                    async for item in waiting:
                        yield item
            left_s = deadline - asyncio.get_running_loop().time()
            async with aclosing(resident.chain.generate(request, left_s)) as items:
                async for item in items:
                    yield msgspec.structs.replace(item, model=name) if name and item.engine else item
        finally:
            self._let_go(name, request.keep_alive_s)

    async def unload(self, name: str) -> bool:
        """Unload a model that was loaded on demand; False: it was not loaded. Raises `Overloaded` while it answers."""
        return bool(name) and await self._memory.unload(name)

    # --- loading ------------------------------------------------------------------------------------------------

    async def _meant(self, model: str) -> str:
        """Return under which name a request's model is kept (rule 1)."""
        if not model or model in self._here:
            return model
        infos = self.infos() or self._last_infos
        if model in self._own_names or any(model == info.model for info in infos):
            return OWN
        return model if await asyncio.to_thread(self._find, model) is not None else OWN

    async def _getting(self, name: str, deadline: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield `loading` at once and every `TELL_S` until `name` is loaded."""
        loop = asyncio.get_running_loop()
        yield calls.ChatItem(loading=True)
        told_at = loop.time()
        if name and self._fetch is not None:
            async with aclosing(self._fetch(name)) as fetching:
                async for _ in fetching:
                    if loop.time() - told_at >= TELL_S:
                        told_at = loop.time()
                        yield calls.ChatItem(loading=True)
        if name in self._here:
            return
        task = self._loading.get(name) or self._begin(name)
        while not task.done():
            await asyncio.wait({task}, timeout=max(0.0, min(TELL_S, deadline - loop.time())))
            if task.done():
                break
            if loop.time() >= deadline:
                raise DeadlineExceeded(f"model {name or 'own'!r} is still loading")
            yield calls.ChatItem(loading=True)
        if task.cancelled():
            raise EngineUnavailable("the node is being stopped")
        task.result()

    def _begin(self, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._load(name), name=f"load {name or 'own engines'}")
        self._loading[name] = task
        task.add_done_callback(lambda done: self._loaded_or_not(name, done))
        return task

    def _loaded_or_not(self, name: str, task: asyncio.Task[None]) -> None:
        self._loading.pop(name, None)
        self._memory.wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.log(logging.DEBUG if name in self._failed else logging.WARNING, "model %s: %s", name or "own", error)
            self._failed[name] = str(error)

    async def _load(self, name: str) -> None:
        async with self._memory.lock:
            if name in self._here:
                return
            wanted = await asyncio.to_thread(self._find, name) if name else None
            if name and wanted is None:
                raise EngineUnavailable(f"model {name!r} is not here any more")
            settings = [wanted.settings] if wanted is not None else self._own
            needs_bytes = wanted.needs_bytes if wanted is not None else self._own_bytes
            await self._memory.make_room(name, needs_bytes)
            keep_s = self._settings.keep_alive_s if name else self._own_keep_s()
            resident = await self._started(name, settings, needs_bytes, keep_s)
            try:
                await until_ready(resident.chain, name)
            except BaseException:
                await resident.chain.stop()
                raise
            now = asyncio.get_running_loop().time()
            resident.load_s, resident.used_at = now - resident.used_at, now
            for info in resident.chain.infos():
                self.load_s[info.engine, name or info.model] = resident.load_s
            self._failed.pop(name, None)
            self._here[name] = resident
            _log.info("model %s is loaded in %.1f s", name or "own", resident.load_s)

    async def _started(self, name: str, settings: Sequence[config.Engine], needs: int, keep_s: float) -> Resident:
        resident = Resident(name, self._build(settings), needs, keep_s, asyncio.get_running_loop().time())
        if not name:
            self._own_names = {engine.name for engine in resident.chain.engines} | self._also_own
        await resident.chain.start()
        return resident

    def _own_keep_s(self) -> float:
        return self._settings.unload_idle_s or -1.0

    def _let_go(self, name: str, keep_alive_s: float | None) -> None:
        self._memory.users[name] -= 1
        if (resident := self._here.get(name)) is None:
            return
        resident.used_at = asyncio.get_running_loop().time()
        if name:  # how long the own one stays is the node's affair
            resident.keep_s = self._settings.keep_alive_s if keep_alive_s is None else keep_alive_s
        self._memory.wake.set()

    def _leaving(self, resident: Resident) -> None:
        if resident.name == OWN:
            self._last_infos = resident.chain.infos() or self._last_infos

    async def _watch_own(self, own: Resident) -> None:
        """Note how long each own engine takes to load, until each is loaded or said why not."""
        began, seen = own.used_at, 0
        while seen < len(own.chain.engines) and self._here.get(OWN) is own:
            for info in own.chain.infos():
                now = asyncio.get_running_loop().time()
                self.load_s.setdefault((info.engine, info.model), now - began)
            seen = len({engine.name for engine in own.chain.engines if engine.info() is not None} | set(self.reasons))
            await asyncio.sleep(_LOOK_S)  # an engine tells nobody that it is ready
