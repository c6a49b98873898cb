"""What a person reads from `tarsd token`, in each language."""

from __future__ import annotations

from typing import NamedTuple


class TokenWords(NamedTuple):
    """The sentences of one language."""

    made: str
    speaks: str
    once: str
    show_as: str
    removed: str
    none: str
    name: str
    person: str
    opens: str
    requests: str
    tokens: str
    expires: str
    unlimited: str
    never: str
    expired: str


ENGLISH = TokenWords(
    made="Token {name}: opens {scopes}; {limits}.",
    speaks="It speaks for {person}: what {person} keeps private is seen with it, and with no other.",
    once="This is the only time it is shown; the node keeps a hash of it.",
    show_as="Programs send it as `Authorization: Bearer TOKEN` (an OpenAI client: api_key).",
    removed="Token {name} is removed; it opens nothing any more.",
    none="There are no named tokens.",
    name="name",
    person="person",
    opens="opens",
    requests="requests",
    tokens="tokens",
    expires="until",
    unlimited="no limit",
    never="for ever",
    expired="{when} (over)",
)

SPANISH = TokenWords(
    made="Token {name}: abre {scopes}; {limits}.",
    speaks="Habla por {person}: con él se ve lo que {person} guarda para sí, y con ningún otro.",
    once="Solo se muestra esta vez; el nodo guarda únicamente un hash.",
    show_as="Los programas lo envían como `Authorization: Bearer TOKEN` (un cliente de OpenAI: api_key).",
    removed="El token {name} está borrado; ya no abre nada.",
    none="No hay tokens con nombre.",
    name="nombre",
    person="persona",
    opens="abre",
    requests="peticiones",
    tokens="tokens",
    expires="hasta",
    unlimited="sin límite",
    never="siempre",
    expired="{when} (caducado)",
)

WORDS = {"en": ENGLISH, "es": SPANISH}
