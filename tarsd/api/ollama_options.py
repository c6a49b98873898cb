"""Ollama's options, durations and names of models. Pure.

Rules
1. What a request leaves open has Ollama's own default, not ours: its clients were written against those.
2. Options that change only how a model is loaded (`num_ctx`, `num_gpu`, `num_thread`, …) or that Ollama itself gave up
   (`mirostat`, `tfs_z`, …) are ignored: the node that generates decides the first, and Ollama ignores the second.
3. `num_predict` of 0 or less is as long as the generating node allows.
4. A name means the same with and without ":latest".
5. An option that is null was not given: clients send all that they know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tarsd.api.replies import FieldError, ModelUnknown

LATEST = ":latest"
AS_LONG_AS_ALLOWED = 1_000_000  # tokens: every node has a bound of its own below

DEFAULTS: dict[str, Any] = {
    "temperature": 0.8,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.0,
    "repeat_penalty": 1.1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
STAYS_S = -1.0  # not infinity, which JSON cannot carry to an engine behind HTTP

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?(?:h|ms|us|µs|ns|m|s))+)")
_PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|us|µs|ns|m|s)")


class Options(msgspec.Struct, frozen=True):
    """What `options` may say about an answer; what else it says is ignored (rule 2)."""

    temperature: Annotated[float, Meta(ge=0)] | None = None  # 0.8; the assistant chooses its own
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None  # 0.9
    top_k: Annotated[int, Meta(ge=0)] | None = None  # 40
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None  # 0
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    num_predict: int | None = None  # -1
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None  # 1.1
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None  # 0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None  # 0

    @property
    def max_tokens(self) -> int:
        """Return how long the answer may be (rule 3)."""
        return min(self.asked_tokens, AS_LONG_AS_ALLOWED) or AS_LONG_AS_ALLOWED

    @property
    def asked_tokens(self) -> int:
        """Return how long the answer may be as far as the client says, 0 = it says nothing."""
        return max(0, self.num_predict or 0)

    @property
    def sampling(self) -> dict[str, Any]:
        """Return what a `ChatRequest` calls the same, Ollama's own where nothing was given (rules 1 and 5)."""
        given = {name: getattr(self, name) for name in DEFAULTS}
        return DEFAULTS | {name: value for name, value in given.items() if value is not None}

    @property
    def chosen_seed(self) -> int | None:
        """Return the seed; Ollama's word for a random one is a negative number."""
        return None if self.seed is None or self.seed < 0 else self.seed

    @property
    def stops(self) -> list[str]:
        """Return the stop strings."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])


def keep_alive_s(given: float | str | None) -> float | None:
    """Return seconds: of a number, or of a duration as "5m" or "1h30m"; negative is for ever (`STAYS_S`).

    Raises `FieldError`.
    """
    if given is None or given == "":
        return None
    seconds = _seconds(given) if isinstance(given, str) else float(given)
    return STAYS_S if seconds < 0 or math.isinf(seconds) else seconds


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is not None:
        whole = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(found[2]))
        return -whole if found[1] == "-" else whole
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise FieldError("keep_alive", f'expected seconds or a duration such as "5m", got {text[:40]!r}')
    return seconds


def resolved(asked: str, known: Collection[str]) -> str:
    """Return the model that `asked` means (rule 4); raises `ModelUnknown` as Ollama says it."""
    for name in (asked, asked.removesuffix(LATEST), asked + LATEST):
        if name in known:
            return name
    raise ModelUnknown(f"model '{asked}' not found")


def tagged(name: str) -> str:
    """Return how Ollama lists a model: always with a tag."""
    return name if ":" in name else name + LATEST
