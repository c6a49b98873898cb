"""Invitations of a core node: files in `identity/invites/`, so that the daemon and a person's command share them.

Rules
1. An invitation is a file named after its secret's hash; the secret itself is only in the token.
2. It is used by renaming its file: of two who come with one token, the file system lets one through.
3. Used and expired ones are kept for a day, to tell people which of the two it was, then removed.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tarsd.errors import ConfigError, InvalidInput, InviteError
from tarsd.identity.folder import folder_of, write_private
from tarsd.identity.identity import load_node_file, read_file
from tarsd.identity.revocations import Notices
from tarsd.identity.token import MAX_HINTS, PIN_BYTES, SECRET_BYTES, Token, hash_of
from tarsd.names import Zone

DEFAULT_EXPIRES_S = 3600.0
MAX_EXPIRES_S = 7 * 24 * 3600.0
KEEP_S = 24 * 3600.0
# Guards the folder against a script gone wild.
MAX_OPEN = 100

_OPEN, _USED = ".open", ".used"


class Invite(msgspec.Struct, frozen=True):
    """An invitation as it is kept."""

    zone: Zone
    expires: float


def create_invite(
    data_dir: Path,
    zone: Zone = Zone.CORE,
    expires_s: float = DEFAULT_EXPIRES_S,
    hints: Sequence[str] = (),
    *,
    now: float | None = None,
) -> str:
    """Make an invitation and return its token; `hints` say where this node's join port is ("host:port").

    Raises `ConfigError` where there is no identity, `InviteError` on a lab node, `InvalidInput` for a wrong expiry.
    """
    from tarsd.identity.authority import fingerprint

    folder = folder_of(data_dir)
    node = load_node_file(data_dir)
    if node.zone is not Zone.CORE:
        raise InviteError("only core nodes can invite: run this on one of them")
    if node.node_id in Notices(folder, read_file(folder / "root.crt"), node.node_id):
        raise InviteError("this node was revoked: it lets nobody in")
    if not 0 < expires_s <= MAX_EXPIRES_S:
        raise InvalidInput(f"expires: {expires_s:g} s; allowed is above 0 and up to {MAX_EXPIRES_S:.0f} s (7 days)")
    now = time.time() if now is None else now
    if len(pending(data_dir, now=now)) >= MAX_OPEN:
        raise InviteError(f"{MAX_OPEN} invitations are open: wait until some are used or expire")
    secret = secrets.token_bytes(SECRET_BYTES)
    invite = Invite(zone=zone, expires=now + expires_s)
    invites = _folder(folder)
    write_private(invites / (hash_of(secret) + _OPEN), msgspec.json.encode(invite))
    pin = fingerprint(read_file(folder / "root.crt"))[:PIN_BYTES]
    return Token(pin, secret, zone, int(invite.expires), list(hints[:MAX_HINTS])).encode()


def pending(data_dir: Path, *, now: float | None = None) -> list[Invite]:
    """Return the invitations that can still be used, soonest expiry first; removes what rule 3 says."""
    now = time.time() if now is None else now
    found = []
    for path in _folder(folder_of(data_dir)).iterdir():
        invite = None if path.name.startswith(".") else _read(path)
        if invite is None:
            if now > _changed_at(path, now) + KEEP_S:  # a younger one may be in the making: `write_private`
                path.unlink(missing_ok=True)
        elif now > invite.expires + KEEP_S:
            path.unlink(missing_ok=True)
        elif path.suffix == _OPEN and now < invite.expires:
            found.append(invite)
    return sorted(found, key=lambda invite: invite.expires)


def use(data_dir: Path, secret: bytes, *, now: float | None = None) -> Invite:
    """Use the invitation of this secret up and return it; raises `InviteError` saying why it cannot be."""
    now = time.time() if now is None else now
    path = _folder(folder_of(data_dir)) / (hash_of(secret) + _OPEN)
    used = path.with_suffix(_USED)
    invite = _read(path)
    if invite is None:
        raise InviteError(
            "this join token has been used already: each is good for one PC"
            if used.exists()
            else "this join token is not known here: was it made by another node, or long ago?"
        )
    if now >= invite.expires:
        raise InviteError("this join token has expired: make a new one with `tarsd invite`")
    try:
        os.rename(path, used)
    except FileNotFoundError:
        raise InviteError("this join token has been used already: each is good for one PC") from None
    return invite


def _folder(folder: Path) -> Path:
    invites = folder / "invites"
    try:
        invites.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{invites}: cannot be made: {error.strerror}") from error
    return invites


def _changed_at(path: Path, now: float) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return now


def _read(path: Path) -> Invite | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Invite)
    except (OSError, msgspec.DecodeError):
        return None
