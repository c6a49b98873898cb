"""What the named tokens have left: counts requests when they are let in, tokens when an answer's usage is known.

Rules
1. A request is let in while its token has a request left and its tokens are not used up; else `LimitReached`, which
   says when to come again. A request that is refused is not counted.
2. Tokens are those of question and answer together, as the model counted them. What was cut before its usage was known
   counts a token for each piece that was sent: leaving early is no way round a limit.
3. Whoever generates for the request at hand finds its allowance by `spend`, in whatever task of it; requests without a
   named token have none, and nothing is counted.
4. What is left is kept in memory: a restart fills the buckets.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from math import ceil

from tarsd.api.rates import Bucket, Rate
from tarsd.api.tokens import Token
from tarsd.errors import MAX_RETRY_AFTER_S, Overloaded


class LimitReached(Overloaded):
    """A named token has used up one of its rates."""

    code = "rate_limit_exceeded"  # OpenAI's clients look for it

    def __init__(self, token: str, limit: str, retry_after_s: float) -> None:
        again_s = min(retry_after_s, MAX_RETRY_AFTER_S)
        super().__init__(f"token {token!r}: its limit of {limit} is reached; again in {ceil(again_s)} s", again_s)


class Allowance:
    """What one named token has left."""

    def __init__(self, token: Token, now: float) -> None:
        self.name = token.name
        self._requests = _bucket(None, token.requests, now)
        self._tokens = _bucket(None, token.tokens, now)

    def change(self, token: Token, now: float) -> None:
        """Take over the rates of `token`, which may have changed."""
        self.name = token.name
        self._requests = _bucket(self._requests, token.requests, now)
        self._tokens = _bucket(self._tokens, token.tokens, now)

    def admit(self, now: float | None = None) -> None:
        """Count one request; raises `LimitReached` (rule 1)."""
        now = time.monotonic() if now is None else now
        if self._tokens is not None and (wait_s := self._tokens.wait_s(1, now)):
            raise LimitReached(self.name, self._tokens.rate.words("tokens"), wait_s)
        if self._requests is not None and not self._requests.take(1, now):
            raise LimitReached(self.name, self._requests.rate.words("requests"), self._requests.wait_s(1, now))

    def spend(self, tokens: int, now: float | None = None) -> None:
        """Count the tokens of an answer."""
        if self._tokens is not None and tokens > 0:
            self._tokens.spend(tokens, time.monotonic() if now is None else now)

    def headers(self, now: float | None = None) -> dict[str, str]:
        """Return what is left as OpenAI tells it."""
        now = time.monotonic() if now is None else now
        told: dict[str, str] = {}
        for what, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                told[f"x-ratelimit-limit-{what}"] = str(bucket.rate.amount)
                told[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.left(now))))
                told[f"x-ratelimit-reset-{what}"] = f"{bucket.wait_s(bucket.rate.amount, now):.3f}s"
        return told


def _bucket(known: Bucket | None, rate: Rate | None, now: float) -> Bucket | None:
    if rate is None:
        return None
    if known is None:
        return Bucket(rate, now)
    known.change(rate, now)
    return known


CURRENT: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


def spend(tokens: int) -> None:
    """Count tokens for the request at hand (rule 3)."""
    allowance = CURRENT.get()
    if allowance is not None:
        allowance.spend(tokens)


class Meter:
    """Counts one answer of the request at hand: `with Meter() as meter`, what was sent, and its usage at the end."""

    def __init__(self) -> None:
        self._allowance = CURRENT.get()  # now: a generator may be closed in another task's context
        self._pieces = 0
        self._used: int | None = None

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._allowance is not None:
            self._allowance.spend(self._pieces if self._used is None else self._used)

    def sent(self, text: str) -> None:
        """Note a piece of text."""
        self._pieces += bool(text)

    def ended(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Note what the model counted; a model that does not count leaves what was sent (rule 2)."""
        if prompt_tokens or completion_tokens:
            self._used = prompt_tokens + completion_tokens
