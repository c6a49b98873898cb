"""The notices that this node knows: who is revoked, which authorities are retired. It only ever grows.

Rules
1. A notice is taken when its signature holds (`notices.py`) and its signer is not retired here; it counts at once, for
   new handshakes and open connections alike.
2. It is kept in two files of one line a notice; the union of what can be read and verified counts, so that neither a
   damaged file nor a damaged line brings a revoked node back. A damaged file is put aside, and people are told.
3. A certificate of a retired authority is refused, unless its node was vouched for by the authority that retired it.
4. Only the newest retirement is kept: two nodes agree, whichever of them was off during the one before.
5. What a retired authority had revoked stays revoked here, but is neither told nor part of the hash: nobody else would
   believe it. The node that revoked says it again with the new authority (`unbelieved`); others never do, since it may
   be a thief with the old key who had said it.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from tarsd.errors import TarsdError
from tarsd.identity.folder import write_private
from tarsd.identity.notices import Notice, Retirement, Revocation, read_notice
from tarsd.identity.peer import PeerIdentity
from tarsd.names import NodeId, Zone

log = logging.getLogger(__name__)

FILES = ("revoked.json", "revoked.copy.json")
MAX_NOTICES = 4096  # guards memory against a stolen authority key


class _Line(msgspec.Struct, frozen=True):
    about: str  # for people only
    notice: bytes
    own: bool = False  # this node said it


class Notices:
    """The notices of one node. `version` grows with each change; everything here is used from one thread but `save`."""

    def __init__(self, folder: Path, root: bytes, own: NodeId) -> None:
        self._folder = folder
        self._root = root
        self._own = own
        self._known: dict[bytes, Notice] = {}  # oldest first
        self._revoked: dict[NodeId, Revocation] = {}
        self._own_words: set[bytes] = set()  # keys of the revocations that this node said
        self._retired: Retirement | None = None
        self._vouched: frozenset[tuple[NodeId, Zone]] = frozenset()
        self._hash = 0
        self._saving = threading.Lock()
        self._saved_version = 0
        self._disbelieved = 0
        self.version = 0
        self.problem = ""  # of the files
        self._load()

    # --- what counts ----------------------------------------------------------------------------------------------

    def refusal(self, peer: PeerIdentity) -> str:
        """Return why a verified peer is none of ours any more; empty = it is."""
        revoked = self._revoked.get(peer.node_id)
        if revoked is not None:
            return revoked.sentence
        if peer.issuer < self.minimum and (peer.node_id, peer.zone) not in self._vouched:
            return f"the certificate of {peer.name} is of an authority that was replaced: it has to join again"
        return ""

    def __contains__(self, node: NodeId) -> bool:
        return node in self._revoked

    def of(self, node: NodeId) -> Revocation | None:
        """Return the revocation of a node, if there is one."""
        return self._revoked.get(node)

    @property
    def own(self) -> Revocation | None:
        """The revocation of this node itself, if there is one."""
        return self._revoked.get(self._own)

    @property
    def minimum(self) -> int:
        """The lowest generation of authorities that is not retired."""
        return self._retired.generation if self._retired else 1

    @property
    def digest(self) -> bytes:
        """8 bytes that two nodes have in common when they know the same notices; zeros for none."""
        return self._hash.to_bytes(8, "big")

    def revoked(self) -> tuple[Revocation, ...]:
        """Return all revocations, oldest first."""
        return tuple(self._revoked.values())

    def all(self) -> list[bytes]:
        """Return all notices that others believe, as they travel: the retirement, then the newest first.

        The retirement is first since it may be too large for datagrams: then it travels with greetings only.
        """
        told = [notice for notice in reversed(self._known.values()) if notice.signer >= self.minimum]
        return [notice.raw for notice in sorted(told, key=lambda notice: isinstance(notice.body, Revocation))]

    def notice_about(self, node: NodeId) -> bytes:
        """Return the notice of a node's revocation as it travels; empty where there is none."""
        notice = self._known.get(b"r" + bytes.fromhex(node))
        return notice.raw if notice else b""

    def is_believed(self, node: NodeId) -> bool:
        """Whether others believe what is known here: that this node is revoked."""
        notice = self._known.get(b"r" + bytes.fromhex(node))
        return notice is not None and notice.signer >= self.minimum

    def unbelieved(self) -> list[Revocation]:
        """Return what this node has revoked by an authority that is retired: it has to be said again."""
        own = [self._known[key] for key in self._known if key in self._own_words]
        return [n.body for n in own if n.signer < self.minimum and isinstance(n.body, Revocation)]

    # --- how it grows ---------------------------------------------------------------------------------------------

    def take(self, raws: Iterable[bytes]) -> list[Notice]:
        """Take what somebody says; returns what is new. What does not hold is left out, with a line in the log."""
        new = []
        for raw in raws:
            if any(raw == known.raw for known in self._known.values()):
                continue
            try:
                notice = read_notice(raw, self._root)
            except TarsdError as error:
                self._disbelieve(str(error))
                continue
            if _is_older(notice, self.minimum):
                continue
            if notice.signer < self.minimum:
                self._disbelieve("its authority is retired")
            elif self._add(notice):
                new.append(notice)
        for notice in new:
            self._tell(notice)
        return new

    def say(self, notice: Notice) -> None:
        """Take what this node itself has just said."""
        self.take([notice.raw])
        if notice.signer >= self.minimum:
            self._own_words.add(notice.key)

    def _disbelieve(self, why: str) -> None:
        log.log(logging.DEBUG if self._disbelieved else logging.WARNING, "a notice was not believed: %s", why)
        self._disbelieved += 1

    def _add(self, notice: Notice) -> bool:
        """Keep a verified notice; returns whether it says something new."""
        known = self._known.get(notice.key)
        if _is_older(notice, self.minimum) or (known is not None and notice.signer <= known.signer):
            return False
        if known is None and len(self._known) >= MAX_NOTICES and isinstance(notice.body, Revocation):
            log.error("%d notices are kept: one more is not", MAX_NOTICES)
            return False
        self._known[notice.key] = notice
        self.version += 1
        if isinstance(notice.body, Retirement):
            self._retire(notice.body)
            return known is None
        self._revoked.setdefault(notice.body.node_id, notice.body)
        if notice.signer >= self.minimum and (known is None or known.signer < self.minimum):
            self._hash ^= int.from_bytes(notice.mark, "big")
        return known is None

    def _retire(self, body: Retirement) -> None:
        """Let this retirement alone count, and those notices that its authorities, or later ones, have signed."""
        self._retired, self._vouched = body, body.vouched()
        self._known = {key: known for key, known in self._known.items() if not _is_older(known, self.minimum)}
        self._hash = 0
        for known in self._known.values():
            if known.signer >= self.minimum:
                self._hash ^= int.from_bytes(known.mark, "big")

    def _tell(self, notice: Notice) -> None:
        match notice.body:
            case Revocation() as revocation if revocation.node_id == self._own:
                log.error("%s: the others refuse this node now, people here are still served", revocation.sentence)
            case Revocation() as revocation:
                log.warning("%s", revocation.sentence)
            case Retirement(generation):
                log.warning("authorities before number %d are retired", generation)

    # --- the files ------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write both files where something is new; blocks. Raises `ConfigError` where the disk does not take it."""
        with self._saving:
            version = self.version
            if version == self._saved_version:
                return
            data = file_of(list(self._known.values()), self._own_words)
            for name in FILES:
                write_private(self._folder / name, data)
            self._saved_version = version

    def _load(self) -> None:
        damaged = []
        for name in FILES:
            path = self._folder / name
            if not path.exists():
                continue
            whole = True
            for notice, own in _read(path, self._root):
                if notice is None:
                    whole = False
                    continue
                self._add(notice)
                if own:
                    self._own_words.add(notice.key)
            if not whole:
                damaged.append(name)
                with contextlib.suppress(OSError):
                    os.replace(path, path.with_suffix(".broken"))
        if not damaged:
            self._saved_version = self.version
            return
        self.version += 1
        lost = "" if len(damaged) < len(FILES) else "; what both had lost comes back from the other nodes"
        self.problem = f"identity/{' and '.join(damaged)} was damaged, {len(self._known)} notices are kept{lost}"
        log.error("%s", self.problem)
        with contextlib.suppress(TarsdError):
            self.save()


def file_of(notices: Iterable[Notice], own: Collection[bytes] = ()) -> bytes:
    """Return the bytes of a file that holds `notices`; `own`: the keys of those that this node said."""
    lines = (_Line(_about(notice), notice.raw, notice.key in own) for notice in notices)
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _is_older(notice: Notice, minimum: int) -> bool:
    """Whether it is a retirement that a later one says too."""
    return isinstance(notice.body, Retirement) and notice.body.generation < minimum


def _about(notice: Notice) -> str:
    if isinstance(notice.body, Revocation):
        return notice.body.sentence
    return f"authorities before number {notice.body.generation} are retired"


def _read(path: Path, root: bytes) -> Iterator[tuple[Notice | None, bool]]:
    """Yield each line's notice and whether this node said it; None for a line that is damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        yield None, False
        return
    for line in lines:
        try:
            read = msgspec.json.decode(line, type=_Line)
            yield read_notice(read.notice, root), read.own
        except (msgspec.DecodeError, UnicodeDecodeError, TarsdError):
            yield None, False


def told(header: str) -> bytes:
    """Return the notice in an HTTP header, empty for none."""
    try:
        return base64.b64decode(header, validate=True)
    except ValueError:
        return b""
