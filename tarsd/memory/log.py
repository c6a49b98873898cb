"""The record log as pure functions: seals, chains, tombstones, and who wins a key.

Rules
1. `sha` seals all fields of a record, the body by its digest; so a body can be forgotten and the chain still holds.
2. An erased record carries the 32-byte digest of its body as its body. No flag is needed: the seal tells the two apart.
3. A record continues its origin's chain: `seq` without gaps, `prev_sha` the seal before it, 32 zero bytes at the start.
4. What comes before its predecessor waits; what contradicts the chain is refused.
5. A key is a path ("document/<sha>/3/0-90"). A tombstone covers its own key and all below, as far as not later.
   Origins decide nothing here: they change where branches part, and what is covered must be the same everywhere.
6. Of the readable records of a key the greatest (hlc, origin, seq) is visible; the losers stay in the log.
7. Two branches of one origin (a cloned node, or one whose disk was set back) are settled everywhere alike: where they
   part, the lesser seal keeps the name. The other branch is sealed anew under a name made of its first seal, with its
   stamps, so that whoever has it makes the same records of it, nothing is lost, and no old text wins over a newer one.
8. Nothing is ever taken out of a chain, however old: an erased record is some 300 bytes, and a chain with holes could
   neither show tampering nor be given whole to a new node. So there is no floor below which a node has to begin anew,
   and a node that was off for years is told of all that was forgotten meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from tarsd.calls import Record
from tarsd.errors import InvalidInput
from tarsd.memory.hlc import MAX_STAMP
from tarsd.wire import MIB, encode

GENESIS = bytes(32)  # prev_sha of an origin's first record
TOMBSTONE = "tombstone"

# A frame holds 4 MiB; a record must fit into one with room to spare.
MAX_BODY_BYTES = 1 * MIB
MAX_KEY_CHARS = 512
MAX_NAME_CHARS = 128  # of kind and origin
MAX_VERSION = 2**31 - 1
_SHA_BYTES = 32
_BRANCH_CHARS = 12
_BRANCH = "~"
_SEAL = "tarsd record 1"  # keeps these hashes apart from any other use of SHA-256


class State(IntEnum):
    """How a record lies in the log."""

    READABLE = 0
    ERASED = 1  # forgotten: the body is its digest
    UNREADABLE = 2  # sealed correctly, but its body is not what its kind says; kept and passed on, never shown


class Head(NamedTuple):
    """The end of an origin's chain."""

    seq: int
    sha: bytes


EMPTY = Head(0, GENESIS)


class Refusal(msgspec.Struct, frozen=True):
    """A record that was not taken in, and why."""

    origin: str
    seq: int
    sha: bytes
    reason: str


class Linked(msgspec.Struct, frozen=True):
    """What became of records of one origin: those that continue the chain, those that wait, those refused."""

    accepted: list[Record]
    waiting: list[Record]
    refused: list[Refusal]


def digest(body: bytes) -> bytes:
    """Return the SHA-256 of a body."""
    return hashlib.sha256(body).digest()


def seal(record: Record, body_digest: bytes) -> bytes:
    """Return the `sha` that a record with this body digest must have (rule 1)."""
    fields = (record.origin, record.seq, record.hlc, record.kind, record.key, record.version)
    return hashlib.sha256(encode((_SEAL, *fields, body_digest, record.prev_sha))).digest()


def make(origin: str, head: Head, hlc: int, kind: str, key: str, body: bytes) -> Record:
    """Return the next record after `head`; raises `InvalidInput` when it breaks a bound."""
    draft = Record(origin, head.seq + 1, hlc, kind, key, body, head.sha, b"")
    record = replace(draft, sha=seal(draft, digest(body)))
    if reason := out_of_bounds(record):
        raise InvalidInput(f"record {kind} {key!r}: {reason}")
    return record


def erase(record: Record) -> Record:
    """Return the record without its body (rule 2); an erased one is returned as it is."""
    return record if is_erased(record) else replace(record, body=digest(record.body))


def is_erased(record: Record) -> bool:
    """Say whether the body is the digest that the seal asks for."""
    return len(record.body) == _SHA_BYTES and seal(record, record.body) == record.sha


def is_sealed(record: Record) -> bool:
    """Say whether the seal fits, for a whole or an erased record."""
    return seal(record, digest(record.body)) == record.sha or is_erased(record)


def reseal(records: Iterable[Record], origin: str) -> list[Record]:
    """Return records as a chain of their own under another origin (rule 7); what was erased stays so."""
    chain: list[Record] = []
    head = EMPTY
    for record in records:
        body_digest = record.body if is_erased(record) else digest(record.body)
        draft = replace(record, origin=origin, seq=head.seq + 1, prev_sha=head.sha)
        chain.append(replace(draft, sha=seal(draft, body_digest)))
        head = Head(chain[-1].seq, chain[-1].sha)
    return chain


def branch_name(origin: str, first_sha: bytes) -> str:
    """Return the name of a branch that lost its origin's (rule 7)."""
    return f"{origin[: MAX_NAME_CHARS - _BRANCH_CHARS - 1]}{_BRANCH}{first_sha.hex()[:_BRANCH_CHARS]}"


def is_branch(origin: str) -> bool:
    """Say whether an origin is a branch that lost its origin's name (rule 7)."""
    return _BRANCH in origin


def keeps_name(mine: bytes, theirs: bytes) -> bool:
    """Say whether mine is the branch that keeps the origin's name, by the first seals after the parting (rule 7)."""
    return mine <= theirs


def out_of_bounds(record: Record) -> str:
    """Return which bound a record breaks, or ""."""
    if not 1 <= record.seq <= MAX_STAMP or not 1 <= record.hlc <= MAX_STAMP:
        return "seq or hlc out of range"
    if not 1 <= record.version <= MAX_VERSION:
        return "version out of range"
    if not _is_name(record.origin, MAX_NAME_CHARS) or not _is_name(record.kind, MAX_NAME_CHARS):
        return "origin or kind is not a short name"
    if not _is_name(record.key, MAX_KEY_CHARS):
        return "the key is empty, too long or not printable"
    if len(record.sha) != _SHA_BYTES or len(record.prev_sha) != _SHA_BYTES:
        return "a hash is not 32 bytes"
    if len(record.body) > MAX_BODY_BYTES:
        return f"the body is over {MAX_BODY_BYTES} bytes"
    if record.kind == TOMBSTONE and "/" not in record.key.strip("/"):
        return "a tombstone over a whole kind"  # one wrong record must not erase every document
    return ""


def _is_name(text: str, limit: int) -> bool:
    return 0 < len(text) <= limit and text.isprintable()


def fault(record: Record) -> str:
    """Return why a record from a peer cannot be taken in, whatever the chain says, or ""."""
    return out_of_bounds(record) or ("" if is_sealed(record) else "the seal does not fit its content")


def link(head: Head, candidates: Iterable[Record], known: Mapping[int, bytes]) -> Linked:
    """Sort records of one origin into the chain after `head` (rules 3 and 4).

    `known` gives the seals of those seqs up to `head` that occur among the candidates: the same seal again is
    nothing new, another one is a fork (a cloned or rolled back node).
    """
    linked = Linked([], [], [])
    seals = dict(known)
    for record in sorted(candidates, key=lambda each: (each.seq, each.sha)):
        if record.seq <= head.seq:
            if seals.get(record.seq) != record.sha:
                linked.refused.append(refuse(record, "a second record with this number: a fork"))
        elif record.seq > head.seq + 1:
            linked.waiting.append(record)
        elif record.prev_sha != head.sha:
            linked.refused.append(refuse(record, "it does not continue the chain"))
        else:
            linked.accepted.append(record)
            head = Head(record.seq, record.sha)
            seals[record.seq] = record.sha
    return linked


def refuse(record: Record, reason: str) -> Refusal:
    """Return the refusal of a record; hostile lengths are cut, since the refusal is stored."""
    return Refusal(record.origin[:MAX_NAME_CHARS], min(record.seq, MAX_STAMP), record.sha[:_SHA_BYTES], reason)


def order(record: Record) -> tuple[int, str, int]:
    """Return what decides between records of one key (rule 6)."""
    return record.hlc, record.origin, record.seq


def ancestors(key: str) -> list[str]:
    """Return the keys whose tombstones cover `key`, itself included (rule 5)."""
    parts = key.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


class Grave(NamedTuple):
    """The latest tombstone of a key."""

    hlc: int
    origin: str


def is_covered(record: Record, graves: Mapping[str, Grave]) -> bool:
    """Say whether a tombstone makes this record forgotten (rule 5); tombstones themselves stay."""
    if record.kind == TOMBSTONE:
        return False
    return any(record.hlc <= graves[key].hlc for key in ancestors(record.key) if key in graves)


def graves_of(records: Iterable[Record], graves: Mapping[str, Grave]) -> dict[str, Grave]:
    """Return `graves` with the tombstones among `records` dug in."""
    merged = dict(graves)
    for record in records:
        if record.kind == TOMBSTONE:
            merged[record.key] = max(merged.get(record.key, Grave(0, "")), Grave(record.hlc, record.origin))
    return merged
