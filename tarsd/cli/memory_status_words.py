"""What a person reads from `tarsd memory status`, in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class StatusWords(NamedTuple):
    """The sentences of one language."""

    header: Sequence[str]
    copies_header: Sequence[str]
    whole: str
    unknown: str
    behind: str
    syncing: str
    single: str
    all_safe: str
    only_one: str
    refused: str
    clock: str
    branch: str
    away: str
    units: Mapping[str, str]


ENGLISH = StatusWords(
    header=["node", "records", "one copy", "waiting", "refused", "database", "wal", "vectors", "backups", "free"],
    copies_header=["node", "state", "has"],
    whole="everything",
    unknown="not known yet",
    behind="all but {records} records, the oldest {age} old",
    syncing="{node} takes over records from {other}: {records} of {of} ({percent} %).",
    single="{node}: {count} records have one copy only, the oldest {age} old.",
    all_safe="Every record is on two PCs or more.",
    only_one="One copy is enough by the settings (memory.copies).",
    refused="{node} refused {note}",
    clock="{node}: the clock of {origin} is {age} ahead.",
    branch="{origin} was written by two nodes at a time, a clone or a restored disk; all of it is kept.",
    away="{node} was not asked: {reason}",
    units={"d": "days", "h": "h", "min": "min", "s": "s"},
)

SPANISH = StatusWords(
    header=[
        "nodo",
        "registros",
        "una copia",
        "en espera",
        "rechazados",
        "base de datos",
        "wal",
        "vectores",
        "copias de seguridad",
        "libre",
    ],
    copies_header=["nodo", "estado", "tiene"],
    whole="todo",
    unknown="aún no se sabe",
    behind="todo menos {records} registros, el más antiguo de hace {age}",
    syncing="{node} recibe registros de {other}: {records} de {of} ({percent} %).",
    single="{node}: {count} registros tienen una sola copia, el más antiguo de hace {age}.",
    all_safe="Cada registro está en dos PC o más.",
    only_one="Según los ajustes basta una copia (memory.copies).",
    refused="{node} rechazó {note}",
    clock="{node}: el reloj de {origin} va {age} adelantado.",
    branch="{origin} lo escribieron dos nodos a la vez, un clon o un disco restaurado; se conserva todo.",
    away="no se ha preguntado a {node}: {reason}",
    units={"d": "días", "h": "h", "min": "min", "s": "s"},
)

_BY_CODE = {"en": ENGLISH, "es": SPANISH}


def status_words(code: str) -> StatusWords:
    """Return the words in a language that `cli.language` knows."""
    return _BY_CODE.get(code, ENGLISH)
