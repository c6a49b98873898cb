"""Where calls are posted, and `calls.Headers` as HTTP headers. Pure."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping

from tarsd.calls import Headers
from tarsd.errors import InvalidInput
from tarsd.names import TraceId

PREFIX = "/rpc/"
HELLO_PATH = PREFIX + "hello"
ALIVE_PATH = PREFIX + "alive"

DEADLINE = "X-Tarsd-Deadline"
HOPS = "X-Tarsd-Hops"
TRACE = "X-Tarsd-Trace"
LOAD = "X-Tarsd-Load"

MAX_DEADLINE_S = 7 * 24 * 3600.0
MAX_HOPS = 8
_TRACE = re.compile(r"[0-9A-Za-z_-]{0,64}")  # it goes into log lines as it is


def to_http(headers: Headers) -> dict[str, str]:
    """Return the HTTP headers of a call."""
    return {DEADLINE: f"{headers.deadline_s:.3f}", HOPS: str(headers.hops), TRACE: headers.trace}


def from_http(found: Mapping[str, str]) -> Headers:
    """Return the headers of an arriving call; raises `InvalidInput` naming the wrong one."""
    try:
        deadline_s = float(found.get(DEADLINE, ""))
    except ValueError:
        deadline_s = math.nan
    if not 0 < deadline_s <= MAX_DEADLINE_S:  # false for NaN too
        raise InvalidInput(f"{DEADLINE}: expected seconds above 0 and up to {MAX_DEADLINE_S:.0f}")
    hops = found.get(HOPS, "")
    if not (hops.isascii() and hops.isdigit() and len(hops) < 3 and int(hops) <= MAX_HOPS):
        raise InvalidInput(f"{HOPS}: expected 0 to {MAX_HOPS}")
    trace = found.get(TRACE, "")
    if not _TRACE.fullmatch(trace):
        raise InvalidInput(f"{TRACE}: expected up to 64 letters, digits, _ and -")
    return Headers(deadline_s=deadline_s, hops=int(hops), trace=TraceId(trace))


def load_to_http(load: bytes) -> dict[str, str]:
    """Return the header that carries the callee's load figure; none for no bytes."""
    return {LOAD: base64.b64encode(load).decode()} if load else {}


def load_from_http(found: Mapping[str, str]) -> bytes:
    """Return the callee's load figure; empty where it is missing or broken, since it is only a hint."""
    try:
        return base64.b64decode(found.get(LOAD, ""), validate=True)
    except ValueError:  # binascii.Error among them
        return b""
