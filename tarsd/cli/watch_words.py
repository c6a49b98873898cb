"""What a person reads while watching the members, in each language; the reasons that gossip gives included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class WatchWords(NamedTuple):
    """The words of one language."""

    header: tuple[str, ...]  # of the columns, in the order of `members_view`
    addresses: str
    states: Mapping[str, str]
    title: str
    happened: str
    nothing_yet: str
    first_seen: str
    silent: str
    lost: str
    again: str
    hint: str
    busy: str
    back: str
    held: str
    one_way: str
    loading: str
    draining: str
    never: str
    more: str
    reasons: tuple[tuple[str, str], ...]  # pattern of gossip's own reason, and how to say it


ENGLISH = WatchWords(
    header=("name", "state", "for", "zone", "roles", "heard", "rtt", "loss", "load", "why"),
    addresses="addresses",
    states={"alive": "alive", "suspect": "suspect", "dead": "dead", "left": "left", "revoked": "revoked"},
    title="{alive} of {all} alive, as {node} sees it at {time}",
    happened="What happened",
    nothing_yet="nothing yet",
    first_seen="new",
    silent="{node} has said nothing for {seconds:.0f} s: it may be frozen",
    lost="the node is not there ({reason}); trying again",
    again="the node is there again",
    hint="Ctrl-C ends",
    busy="busy for {seconds:.0f} s",
    back="expected back within {seconds:.0f} s",
    held="unsteady: last choice for {seconds:.0f} s",
    one_way="we hear it, it does not hear us",
    loading="loading a model",
    draining="takes nothing new",
    never="never",
    more="and {count} more",
    reasons=((r"it does not hear us", "we hear it, it does not hear us"),),
)

SPANISH = WatchWords(
    header=("nombre", "estado", "desde", "zona", "roles", "oído", "ida y vuelta", "pérdida", "carga", "por qué"),
    addresses="direcciones",
    states={"alive": "presente", "suspect": "en duda", "dead": "perdido", "left": "se fue", "revoked": "revocado"},
    title="{alive} de {all} presentes, según {node} a las {time}",
    happened="Qué ha pasado",
    nothing_yet="nada todavía",
    first_seen="nuevo",
    silent="{node} no dice nada desde hace {seconds:.0f} s: quizá está congelado",
    lost="el nodo no está ({reason}); se vuelve a intentar",
    again="el nodo está de nuevo",
    hint="Ctrl-C termina",
    busy="ocupado {seconds:.0f} s",
    back="vuelve en {seconds:.0f} s como mucho",
    held="inestable: última opción durante {seconds:.0f} s",
    one_way="se le oye, pero no nos oye",
    loading="cargando un modelo",
    draining="no acepta nada nuevo",
    never="nunca",
    more="y {count} más",
    reasons=(
        (r"this node", "este nodo"),
        (r"greeted", "saludado"),
        (r"heard again", "se le oye de nuevo"),
        (r"heard of, not met yet", "se sabe de él, sin contacto aún"),
        (r"known from before, not met yet", "conocido de antes, sin contacto aún"),
        (r"only others hear it", "solo otros lo oyen"),
        (r"no answer to pings", "no responde a los pings"),
        (r"nobody listens at its port", "nadie escucha en su puerto"),
        (r"a call to it failed", "una llamada a él falló"),
        (r"another member suspects it", "otro miembro duda de él"),
        (r"it refuted", "lo ha desmentido"),
        (r"it does not hear us", "se le oye, pero no nos oye"),
        (r"not reached since this node started", "sin contacto desde que este nodo arrancó"),
        (r"silent: (.+)", "en silencio: {0}"),
        (r"(.+) says it is dead", "{0} dice que está perdido"),
        (r"it said goodbye \(stop\)", "se despidió (parada)"),
        (r"it said goodbye \(restart(?:, back in (\d+) s)?\)", "se despidió (reinicio)"),
        (r"it said goodbye \((.+)\)", "se despidió ({0})"),
        (r"it said goodbye", "se despidió"),
        (r"revoked", "revocado"),
    ),
)

_BY_CODE = {"en": ENGLISH, "es": SPANISH}


def watch_words(code: str) -> WatchWords:
    """Return the words of a language, else English."""
    return _BY_CODE.get(code, ENGLISH)


def told_reason(reason: str, words: WatchWords) -> str:
    """Return gossip's reason in the reader's language; one that is not known stays as it is."""
    for pattern, said in words.reasons:
        if found := re.fullmatch(pattern, reason):
            return said.format(*(told_reason(group or "", words) for group in found.groups()))
    return reason
