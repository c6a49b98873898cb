"""What a person reads from `tarsd models` and `tarsd bench`, in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class ModelWords(NamedTuple):
    """The sentences of one language."""

    list_header: Sequence[str]
    states: Mapping[str, str]
    none: str
    unreachable: str
    stays: str
    stages: Mapping[str, str]
    here: str
    sure: str
    yes: str
    not_done: str
    removed: str
    bench_header: Sequence[str]
    not_measured: str
    alone: str


ENGLISH = ModelWords(
    list_header=["node", "model", "state", "size", "parameters", "kind", "context", "engine", "tokens/s", "remark"],
    states={
        "loaded": "loaded",
        "loading": "loading",
        "present": "on disk",
        "pulling": "coming",
        "absent": "absent",
        "failed": "failed",
    },
    none="No PC that is on runs a model.",
    unreachable="{node} did not answer: {reason}",
    stays="leaves memory in {seconds:.0f} s",
    stages={
        "pulling manifest": "looking for it",
        "verifying sha256 digest": "verifying",
        "success": "done",
        "pulling": "fetching",
    },
    here="{model} is here, from {origin} (sha256 {digest}).",
    sure="Remove {model}? [yes/no] ",
    yes="yes",
    not_done="Nothing was done.",
    removed="{model}: {detail}, {size} freed.",
    bench_header=["engine", "model", "load", "first token", "prompt t/s", "answer t/s", "together t/s", "memory"],
    not_measured="not measured: {reason}",
    alone="{total:.1f} ({count} at once)",
)

SPANISH = ModelWords(
    list_header=["nodo", "modelo", "estado", "tamaño", "parámetros", "tipo", "contexto", "motor", "tokens/s", "nota"],
    states={
        "loaded": "cargado",
        "loading": "cargando",
        "present": "en disco",
        "pulling": "llegando",
        "absent": "ausente",
        "failed": "fallido",
    },
    none="Ningún PC encendido tiene un modelo.",
    unreachable="{node} no ha respondido: {reason}",
    stays="deja la memoria en {seconds:.0f} s",
    stages={
        "pulling manifest": "buscando",
        "verifying sha256 digest": "verificando",
        "success": "hecho",
        "pulling": "descargando",
    },
    here="{model} está aquí, de {origin} (sha256 {digest}).",
    sure="¿Borrar {model}? [sí/no] ",
    yes="sí",
    not_done="No se ha hecho nada.",
    removed="{model}: {detail}, {size} liberados.",
    bench_header=["motor", "modelo", "carga", "1.er token", "pregunta t/s", "respuesta t/s", "a la vez t/s", "memoria"],
    not_measured="sin medir: {reason}",
    alone="{total:.1f} ({count} a la vez)",
)

WORDS = {"en": ENGLISH, "es": SPANISH}
