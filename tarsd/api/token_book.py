"""The named tokens that open this node's API now: the daemon's view of their file.

Rules
1. The file is looked at when it is needed, at most once a second: a new, changed or removed token counts from then on.
2. A file that cannot be read closes the door to all named tokens until it can be: `problem` says why, once in the log.
3. A token is found by its hash: there is no time to measure.
4. A token that keeps its id keeps what it has used.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from aiohttp import web

from tarsd.api import tokens
from tarsd.api.allowance import Allowance
from tarsd.api.tokens import Token
from tarsd.errors import StorageError

log = logging.getLogger(__name__)

LOOK_S = 1.0

_Mark = tuple[int, int, int] | None  # tells versions of the file apart


class TokenBook:
    """Finds named tokens by what was shown, and their allowances."""

    def __init__(self, path: Path) -> None:
        self.problem = ""
        self._path = path
        self._mark: _Mark = None
        self._looked_at: float | None = None
        self._by_digest: dict[str, Token] = {}
        self._allowances: dict[str, Allowance] = {}

    def find(self, word: str, now: float) -> Token | None:
        """Return the token of which this is the secret, or the key of its session; expired ones too."""
        self.look(now)
        return self._by_digest.get(tokens.digest_of(word))

    def still(self, token: Token, now: float) -> Token | None:
        """Return `token` as it is by now; None when it was removed or has expired."""
        self.look(now)
        known = self._by_digest.get(token.digest)
        return None if known is None or known.has_expired(time.time()) else known

    def allowance(self, token: Token, now: float) -> Allowance:
        """Return what `token` has left."""
        known = self._allowances.get(token.id)
        if known is None:
            known = self._allowances[token.id] = Allowance(token, now)
        known.change(token, now)
        return known

    def look(self, now: float) -> None:
        """Read the file if it changed (rule 1)."""
        if self._looked_at is not None and now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        mark = self._present()
        if mark != self._mark or self.problem:
            self._mark = mark
            self._read()

    def _present(self) -> _Mark:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> None:
        try:
            known = tokens.read(self._path)
        except StorageError as error:
            if not self.problem:
                log.warning("no named token opens anything: %s", error)
            self.problem = str(error)
            self._by_digest = {}
            return
        self.problem = ""
        self._by_digest = {digest: token for token in known for digest in (token.digest, token.session_digest)}
        kept = {token.id for token in known}
        self._allowances = {name: left for name, left in self._allowances.items() if name in kept}


TOKENS = web.AppKey("tokens", TokenBook)
