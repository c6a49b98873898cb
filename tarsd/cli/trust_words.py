"""What a person reads from `tarsd revoke` and `tarsd rotate`, in each language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class TrustWords(NamedTuple):
    """The sentences of one language."""

    yes: str  # the answer that means yes, and its first letter
    sure_revoke: str
    sure_rotate: str
    takes_part: str
    unknown: str
    not_done: str
    revoked: str
    already: str
    knows: str
    waiting: str
    held: str
    kept_core: str
    kept_lab: str
    none: str
    phases: Mapping[str, str]
    never: str
    state: str
    done: str
    off: str
    root_at: str
    root_lost: str


ENGLISH = TrustWords(
    yes="yes",
    sure_revoke="Throw {name} out for good? This cannot be undone. [yes/no] ",
    sure_rotate="Go on? [yes/no] ",
    takes_part="These core PCs get the new keys: {names}.",
    unknown="If you do not know one of them, stop here and `tarsd revoke` it first.",
    not_done="Nothing was done.",
    revoked="{name} ({node}) is revoked.",
    already="{name} ({node}) was revoked already; it was said again.",
    knows="Acknowledged by: {names}.",
    waiting="Not reached: {names}. They learn it when they return, before they are given any work.",
    held="It was a core PC: it held the keys that make certificates. If somebody else may have it, run `tarsd rotate`.",
    kept_core="What it has on its disk stays there: documents, records, conversations of its last run are not deleted.",
    kept_lab="It was a lab PC: it held no documents, records or authority keys; only what it was asked to work on.",
    none="nobody",
    phases={"install": "install", "use": "use", "remove": "remove"},
    never="The keys were never replaced from here; number {generation} is in use.",
    state="Replacing the keys by number {generation}: step {phase} is next. `tarsd rotate` goes on with it.",
    done="The keys are replaced: number {generation} is in use, those before it are refused everywhere.",
    off="Off now, gets what it missed on return: {names}.",
    root_at="The root key is on {name}.",
    root_lost="No PC that is on has the root key.",
)

SPANISH = TrustWords(
    yes="sí",
    sure_revoke="¿Expulsar a {name} para siempre? No se puede deshacer. [sí/no] ",
    sure_rotate="¿Seguir? [sí/no] ",
    takes_part="Estos PC core reciben las claves nuevas: {names}.",
    unknown="Si no conoce alguno de ellos, pare aquí y revóquelo antes con `tarsd revoke`.",
    not_done="No se ha hecho nada.",
    revoked="{name} ({node}) está revocado.",
    already="{name} ({node}) ya estaba revocado; se ha vuelto a decir.",
    knows="Lo han confirmado: {names}.",
    waiting="Sin respuesta: {names}. Lo sabrán al volver, antes de recibir trabajo.",
    held="Era un PC core: tenía las claves que hacen certificados. Si otro puede tenerlo, ejecute `tarsd rotate`.",
    kept_core="Lo que tiene en su disco sigue allí: no se borran documentos, registros ni conversaciones.",
    kept_lab="Era un PC lab: no tenía documentos, registros ni claves de autoridad; solo lo que se le pidió procesar.",
    none="nadie",
    phases={"install": "instalar", "use": "usar", "remove": "retirar"},
    never="Desde aquí nunca se han cambiado las claves; está en uso la número {generation}.",
    state="Cambio de claves a la número {generation}: el paso siguiente es {phase}. `tarsd rotate` continúa.",
    done="Las claves están cambiadas: está en uso la número {generation}, las anteriores se rechazan en todas partes.",
    off="Apagados ahora, recibirán lo que falta al volver: {names}.",
    root_at="La clave raíz está en {name}.",
    root_lost="Ningún PC encendido tiene la clave raíz.",
)

WORDS = {"en": ENGLISH, "es": SPANISH}
