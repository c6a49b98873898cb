"""What the store promises about crashes, and whether a database that was left behind by one keeps it.

Promises
1. What was acknowledged is there, word for word, unless it was forgotten.
2. What was never to be written is not there; of a write that was cut off, all is there or nothing.
3. What was acknowledged as forgotten is not shown, and no byte of it is left in the database's files.
4. Pages, chains, derived tables and keyword index are whole; no database had to be moved aside.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tarsd.memory.bodies import MemoryBody
from tarsd.memory.store import Store
from tarsd.names import NodeId
from tarsd.wire import decode

NODE = NodeId("c" * 32)
_WORDS = ("caldera", "boiler", "presión", "pressure", "revisión", "serviced", "garantía", "kitchen", "invoice", "enero")


def text_of(name: str) -> str:
    """Return the text that is written under a name: 100 to 6,000 characters, none of them like another name's."""
    seed = hashlib.sha256(name.encode()).digest()
    count = 2 + seed[0] // 4 if seed[1] % 8 else 60 + seed[0]
    return " ".join(f"canary{name}x{number}{_WORDS[seed[number % 32] % len(_WORDS)]}" for number in range(count))


def key_of(name: str) -> str:
    """Return the key of a name's memory."""
    return f"memory/{name}"


@dataclass
class Account:
    """What a writer has said so far."""

    acknowledged: set[str] = field(default_factory=set)
    in_flight: dict[int, list[str]] = field(default_factory=dict)
    forgetting: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)

    def copy(self) -> Account:
        """Return one of its own."""
        return Account(set(self.acknowledged), dict(self.in_flight), set(self.forgetting), set(self.forgotten))

    def heard(self, event: tuple[str, int, list[str]]) -> None:
        """Take what a writer says: "will" and "did" of a batch, "forgetting" and "forgot" of names."""
        what, batch, names = event
        match what:
            case "will":
                self.in_flight[batch] = names
            case "did":
                self.acknowledged.update(self.in_flight.pop(batch))
            case "forgetting":
                self.forgetting.update(names)
            case "forgot":
                self.forgetting.difference_update(names)
                self.acknowledged.difference_update(names)
                self.forgotten.update(names)

    def settle(self, shown: Iterable[str]) -> None:
        """After a crash: what was under way has happened, or it has not, and from now on that stays so."""
        there = set(shown)
        for names in self.in_flight.values():
            self.acknowledged.update(there.intersection(names))
        self.forgotten |= self.forgetting - there
        self.acknowledged -= self.forgetting - there
        self.in_flight.clear()
        self.forgetting.clear()


@dataclass
class Verdict:
    """What a crash did: each promise that was broken, by its sort."""

    shown: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """All of it as sentences."""
        sorts = {"lost": self.lost, "appeared": self.appeared, "came back": self.returned, "corrupt": self.corrupt}
        return [f"{sort}: {what}" for sort, found in sorts.items() for what in found]


async def look(path: Path, account: Account) -> Verdict:
    """Open the database as a node does and hold it against the account."""
    store = await Store.open(path, NODE)
    try:
        rows = await store.rows(
            "SELECT log.key, body FROM visible JOIN log USING (id) WHERE kind = 'memory' ORDER BY log.key"
        )
        texts = {key.partition("/")[2]: decode(body, MemoryBody).text for key, body in rows}
        verdict = judge(texts, account)
        verdict.corrupt = ([store.problem] if store.problem else []) + await store.integrity_check()
        left = await asyncio.to_thread(_bytes_of, path)
        verdict.returned += [
            f"bytes of {name}" for name in sorted(account.forgotten) if f"canary{name}x".encode() in left
        ]
        return verdict
    finally:
        await store.close()


def judge(texts: dict[str, str], account: Account) -> Verdict:
    """Compare what is shown with what was said (promises 1 to 3)."""
    verdict = Verdict(shown=set(texts))
    for name in sorted(account.acknowledged - account.forgetting):
        if texts.get(name) != text_of(name):
            verdict.lost.append(name)
    willed = account.acknowledged.union(*account.in_flight.values())
    verdict.appeared += sorted(name for name in texts if name not in willed or texts[name] != text_of(name))
    for names in account.in_flight.values():
        there = [name for name in names if name in texts]
        if there and len(there) < len(names):
            verdict.appeared.append(f"half of a write: {len(there)} of {len(names)}")
    verdict.returned += sorted(account.forgotten.intersection(texts))
    return verdict


def _bytes_of(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))
