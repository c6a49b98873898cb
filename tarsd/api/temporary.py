"""Whether a question is one of a temporary chat: for the APIs of others, whose bodies have no field for it.

The chat over `/ws` says so in its message; here the header `X-Tarsd-Temporary: 1` does, on every route that asks the
assistant. Of such a question nothing is written, and nothing that is remembered is used for its answer.
"""

from __future__ import annotations

from aiohttp import web

from tarsd.errors import InvalidInput

HEADER = "X-Tarsd-Temporary"
_SAID = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


def is_temporary(request: web.Request) -> bool:
    """Return what the header says; raises `InvalidInput`: a word that is misread must not leave a trace in memory."""
    said = request.headers.get(HEADER, "").strip().casefold()
    if said not in _SAID:
        raise InvalidInput(f"{HEADER}: {said!r} is neither 1 nor 0")
    return _SAID[said]
