"""What a commit forgot, as those hear of it who hold copies outside the records, and what they let go of. Data only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping

import msgspec

from tarsd.memory.bodies import conversation_key
from tarsd.memory.log import ancestors

MAX_COUNTED = 200_000  # keys whose removal is remembered until a receipt is written


class Text(msgspec.Struct, frozen=True):
    """A text that was erased: of which kind and key, and its packed body. It lives as long as it takes to let go."""

    kind: str
    key: str
    body: bytes


class Forgotten(msgspec.Struct, frozen=True):
    """`graves`: keys that are forgotten with all below them; `texts`: bodies of memories, summaries and documents that
    stood there; `receipts`: ids of receipts that came with it. `was_cut_off`: it was forgotten before the last start,
    and the texts are not known any more."""

    graves: tuple[str, ...] = ()
    texts: tuple[Text, ...] = ()
    receipts: tuple[str, ...] = ()
    was_cut_off: bool = False


class LetGo(msgspec.Struct, frozen=True):
    """What a part let go of. `problem` says what it could not."""

    cached: int = 0
    conversations: int = 0
    problem: str = ""


def documents_of(forgotten: Forgotten) -> list[str]:
    """Return the SHA-256 of documents that were forgotten whole."""
    parts = [key.split("/") for key in forgotten.graves]
    return [each[1] for each in parts if len(each) == 2 and each[0] == "document"]


def is_conversation_in(graves: Container[str], conversation: str, person: str) -> bool:
    """Tell whether a person's conversation was forgotten whole."""
    return conversation_key(conversation) in graves or conversation_key(conversation, person) in graves


class Removal(msgspec.Struct, frozen=True):
    """What was removed from the records for a key: texts erased, vectors and keyword entries deleted."""

    records: int = 0
    vectors: int = 0
    keywords: int = 0

    def __add__(self, other: Removal) -> Removal:
        return Removal(self.records + other.records, self.vectors + other.vectors, self.keywords + other.keywords)


class Removals:
    """What was removed since the start, by the key that was forgotten; the oldest make room."""

    def __init__(self) -> None:
        self._by_grave: OrderedDict[str, Removal] = OrderedDict()

    def add(self, graves: Mapping[str, int], hidden: Iterable[tuple[str, int, int]]) -> None:
        """Count texts erased by grave, and (key, vectors, keywords) of what is shown no longer."""
        for grave, records in graves.items():
            self._count(grave, Removal(records))
        for key, vectors, keywords in hidden:
            if grave := next((each for each in ancestors(key) if each in graves), ""):
                self._count(grave, Removal(0, vectors, keywords))

    def of(self, keys: Iterable[str]) -> Removal:
        """Return what was removed for these keys together."""
        return sum((self._by_grave.get(key, Removal()) for key in keys), Removal())

    def _count(self, grave: str, more: Removal) -> None:
        self._by_grave[grave] = self._by_grave.get(grave, Removal()) + more
        self._by_grave.move_to_end(grave)
        while len(self._by_grave) > MAX_COUNTED:
            self._by_grave.popitem(last=False)
