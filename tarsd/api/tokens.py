"""Named tokens and their file: who may use the API for what, how much, and until when.

A token is `tars_<id>_<secret>`, shown once when it is made. The file `tokens.json` in the data folder keeps only
SHA-256 hashes of it: of the token, and of the key that a browser's cookie holds for it.

Rules
1. The file is replaced as a whole, with mode 0600, and belongs to the folder's owner.
2. A file that cannot be read is never taken for an empty one, nor written over: `StorageError` names it.
3. Two commands at once wait for each other; the daemon only reads.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tarsd.api.persons import person_name
from tarsd.api.rates import Rate
from tarsd.api.scopes import Scope
from tarsd.errors import InvalidInput, NotFound, StorageError

FILE = "tokens.json"
PREFIX = "tars_"  # what is shown with this form is meant as a named token
MAX_TOKENS = 1000

_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Person = Annotated[str, Meta(max_length=64)]
TokenName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One named token as the file keeps it. Times are seconds since 1970; None = no limit.

    `person`: on whose behalf it speaks; "" = whoever sits at a PC of the household, and then the file does not name it:
    a version before that field reads it too.
    """

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}\Z")]
    name: TokenName
    digest: _Digest
    session_digest: _Digest
    scopes: Annotated[list[Scope], Meta(min_length=1)]
    requests: Rate | None = None
    tokens: Rate | None = None
    created_at: float
    expires_at: float | None = None
    person: _Person = ""

    def has_expired(self, now: float) -> bool:
        """Tell whether its time is over at `now` (seconds since 1970)."""
        return self.expires_at is not None and now >= self.expires_at


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=1)]
    tokens: Annotated[list[Token], Meta(max_length=MAX_TOKENS)]


def digest_of(word: str) -> str:
    """Return what the file keeps of a token or a cookie."""
    return hashlib.sha256(word.encode(errors="surrogateescape")).hexdigest()


def session_key(token: str) -> str:
    """Return what the page's cookie holds for `token`."""
    return hmac.new(token.encode(), b"tarsd page session", hashlib.sha256).hexdigest()


def minted(
    name: str,
    scopes: Sequence[Scope],
    now: float,
    *,
    requests: Rate | None = None,
    tokens: Rate | None = None,
    valid_s: float | None = None,
    person: str = "",
) -> tuple[str, Token]:
    """Return a new token, and what the file keeps of it; raises `InvalidInput` for a name that is none.

    `person` is kept as `person_name` gives it.
    """
    try:
        name = msgspec.convert(name, TokenName)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"name: {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'") from error
    identifier = secrets.token_hex(4)
    shown = f"{PREFIX}{identifier}_{secrets.token_urlsafe(32)}"
    kept = Token(
        id=identifier,
        name=name,
        digest=digest_of(shown),
        session_digest=digest_of(session_key(shown)),
        scopes=list(dict.fromkeys(scopes)),
        requests=requests,
        tokens=tokens,
        created_at=now,
        expires_at=None if valid_s is None else now + valid_s,
        person=person_name(person, "person") if person else "",
    )
    return shown, kept


def read(path: Path) -> list[Token]:
    """Return the tokens in the file, none where there is none; raises `StorageError` (rule 2)."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return msgspec.json.decode(found, type=_Kept).tokens
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # the decoder's sentence names a place, never what stands there
        raise StorageError(f"{path}: is not a file of tokens: {error}") from error


def add(path: Path, token: Token) -> None:
    """Keep one more; raises `InvalidInput` where the name is taken, `StorageError`."""
    with _alone(path):
        known = read(path)
        if any(other.name == token.name for other in known):
            raise InvalidInput(f"name: there is a token {token.name!r} already; `tarsd token rm` it first")
        if len(known) >= MAX_TOKENS:
            raise InvalidInput(f"there are {MAX_TOKENS} tokens, which is the most; remove some")
        _write(path, [*known, token])


def remove(path: Path, name: str) -> Token:
    """Forget the token of this name and return it; raises `NotFound`, `StorageError`."""
    with _alone(path):
        known = read(path)
        found = next((token for token in known if token.name == name), None)
        if found is None:
            names = ", ".join(token.name for token in known) or "none"
            raise NotFound(f"name: there is no token {name!r}; there is {names}")
        _write(path, [token for token in known if token is not found])
        return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold off other commands (rule 3)."""
    try:
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: cannot be changed: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, tokens: list[Token]) -> None:
    body = msgspec.json.format(msgspec.json.encode(_Kept(1, tokens)), indent=2)
    fresh = path.with_suffix(".new")
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            if os.geteuid() == 0:
                owner = path.parent.stat()  # made by root, it must still be the daemon's to read
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(body + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
