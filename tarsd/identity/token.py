"""Join tokens: `tars1.` and base32 letters that a person can carry from one PC to the next. Pure.

Rules
1. The token pins the cluster's root by fingerprint: who joins trusts nobody before the fingerprint fits.
2. Its secret is good for one use, one zone, until `expires`; the inviting node decides that by its own clock and
   keeps only the secret's hash.
3. A checksum tells a mistyped token from a refused one.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Annotated

import msgspec

from tarsd.errors import InviteError
from tarsd.names import Zone

PREFIX = "tars1."
SECRET_BYTES = 16
# Of SHA-256: finding another root with the same 128 bits is out of reach, and the token stays short.
PIN_BYTES = 16
MAX_HINTS = 8

_Hint = Annotated[str, msgspec.Meta(max_length=255)]


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What a join token carries; `hints` are "host:port" of the inviting node's join port."""

    pin: bytes
    secret: bytes
    zone: Zone
    expires: int
    hints: Annotated[list[_Hint], msgspec.Meta(max_length=MAX_HINTS)] = []

    def encode(self) -> str:
        """Return the token as text."""
        body = msgspec.msgpack.encode(self)
        checked = body + zlib.crc32(body).to_bytes(4)
        return PREFIX + base64.b32encode(checked).decode().rstrip("=").lower()


def decode_token(text: str) -> Token:
    """Return what `text` carries, white space within it ignored; raises `InviteError` for anything that is no token."""
    letters = "".join(text.split()).lower()
    if not letters.startswith(PREFIX):
        raise InviteError(f"that is not a join token: one begins with {PREFIX!r}")
    letters = letters.removeprefix(PREFIX).upper()
    try:
        checked = base64.b32decode(letters + "=" * (-len(letters) % 8))
        body = checked[:-4]
        if zlib.crc32(body).to_bytes(4) != checked[-4:]:
            raise InviteError("the join token is mistyped or incomplete: copy it again, whole")
        token = msgspec.msgpack.decode(body, type=Token)
    except (ValueError, msgspec.DecodeError) as error:
        raise InviteError("the join token is mistyped or incomplete: copy it again, whole") from error
    if len(token.pin) != PIN_BYTES or len(token.secret) != SECRET_BYTES:
        raise InviteError("the join token was made by another version of tarsd")
    return token


def hash_of(secret: bytes) -> str:
    """Return what the inviting node keeps of a secret."""
    return hashlib.sha256(b"tarsd invite" + secret).hexdigest()
