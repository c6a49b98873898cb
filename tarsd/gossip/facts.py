"""The slow facts of one node (roles, capabilities, version, URLs): versioned key-values that only their owner writes.

Rules
1. Each change of a key takes the next version of its owner; (generation, version) says how far somebody knows them.
2. A withdrawn key stays, empty, so that its withdrawal spreads; there are at most 128 keys.
3. A set is taken only whole and proven: the changes are applied to a copy, and the owner's signature must hold for it.
Source: quickwit-oss/chitchat ALGORITHM.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from tarsd.gossip.member import Attribute
from tarsd.gossip.messages import MAX_FACTS, Delta, Fact, Text
from tarsd.gossip.proof import Notary, facts_statement
from tarsd.names import Capability

_CAPABILITY = "capability/"
_ROLES = "roles"
_VERSION = "version"
_API = "api"

_Attributes = dict[
    Annotated[str, Meta(max_length=64)],
    Text | int | float | bool | Annotated[list[Text], Meta(max_length=64)],
]
_ENCODER = msgspec.msgpack.Encoder()
_ATTRIBUTES: msgspec.msgpack.Decoder[_Attributes] = msgspec.msgpack.Decoder(_Attributes)
_TEXTS = msgspec.msgpack.Decoder(Annotated[list[Text], Meta(max_length=64)])
_TEXT = msgspec.msgpack.Decoder(Text)


class Facts:
    """What is known of one node's facts; never changed, only replaced."""

    __slots__ = ("_facts", "api", "capabilities", "generation", "proof", "release", "roles", "version")

    def __init__(self, generation: int = 0, facts: Iterable[Fact] = (), version: int = 0, proof: bytes = b"") -> None:
        self.generation = generation
        self.version = version
        self.proof = proof
        self._facts = {fact.key: fact for fact in facts}
        self.capabilities: dict[Capability, dict[str, Attribute]] = {}
        self.roles: tuple[str, ...] = ()
        self.release = ""
        self.api: tuple[str, ...] = ()
        for fact in self._facts.values():
            if fact.value:
                self._read(fact)

    def changed_to(self, node: bytes, wanted: Mapping[str, bytes], generation: int, notary: Notary) -> Facts:
        """Return these facts with the keys of `wanted`, and no others, signed; itself when nothing changes."""
        facts, version = dict(self._facts), self.version
        for key in sorted(facts.keys() | wanted.keys()):
            value = wanted.get(key, b"")
            if key not in facts or facts[key].value != value:
                version += 1
                facts[key] = Fact(key, version, value)
        if version == self.version and generation == self.generation and self.proof:
            return self
        if len(facts) > MAX_FACTS:
            raise ValueError(f"{len(facts)} facts, at most {MAX_FACTS} are allowed")
        version = max(version, 1)
        proof = notary.sign(facts_statement(node, generation, version, _root(facts.values())))
        return Facts(generation, facts.values(), version, proof)

    def since(self, node: bytes, version: int) -> Delta:
        """Return what changed after `version`."""
        news = [fact for fact in self._facts.values() if fact.version > version]
        return Delta(node, self.generation, version, self.version, news, self.proof)

    def joined(self, delta: Delta, signing_key: bytes, notary: Notary) -> Facts | None:
        """Return these facts with `delta` applied; None when it is old, has a gap, or its proof does not hold."""
        fresh = delta.generation != self.generation
        if delta.generation < self.generation or (not fresh and delta.version <= self.version):
            return None
        # A gap needs no check of its own: with a fact missing, the proof for the whole set does not hold.
        facts = {} if fresh else dict(self._facts)
        facts.update((fact.key, fact) for fact in delta.facts)
        statement = facts_statement(delta.node, delta.generation, delta.version, _root(facts.values()))
        if len(facts) > MAX_FACTS or not notary.holds(signing_key, statement, delta.proof):
            return None
        return Facts(delta.generation, facts.values(), delta.version, delta.proof)

    def _read(self, fact: Fact) -> None:
        """Understand one fact; what we cannot read is kept and passed on, and means nothing to us."""
        try:
            if fact.key.startswith(_CAPABILITY):
                name = Capability(fact.key.removeprefix(_CAPABILITY))
                self.capabilities[name] = dict(_ATTRIBUTES.decode(fact.value))
            elif fact.key == _ROLES:
                self.roles = tuple(_TEXTS.decode(fact.value))
            elif fact.key == _API:
                self.api = tuple(_TEXTS.decode(fact.value))
            elif fact.key == _VERSION:
                self.release = _TEXT.decode(fact.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return


NO_FACTS = Facts()


def as_facts(
    capabilities: Mapping[Capability, Mapping[str, Attribute]],
    roles: Iterable[str],
    release: str,
    api: Iterable[str] = (),
) -> dict[str, bytes]:
    """Return what a node says of itself as keys and values; `api`: the URLs where people reach it."""
    wanted = {_CAPABILITY + name: _ENCODER.encode(dict(attributes)) for name, attributes in capabilities.items()}
    wanted[_ROLES] = _ENCODER.encode(list(roles))
    wanted[_VERSION] = _ENCODER.encode(release)
    if urls := list(api):
        wanted[_API] = _ENCODER.encode(urls)
    return wanted


def _root(facts: Iterable[Fact]) -> bytes:
    digest = hashlib.sha256()
    for fact in sorted(facts, key=lambda fact: fact.key):
        for part in (fact.key.encode(), fact.version.to_bytes(4, "big"), fact.value):
            digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
