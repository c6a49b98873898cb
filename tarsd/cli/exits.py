"""Exit codes of every command, after sysexits.h.

0 done   1 failed   64 wrong usage   69 no node answers, or it cannot do this now   77 not allowed
78 the configuration is wrong   130 stopped by Ctrl-C
"""

from __future__ import annotations

from tarsd import errors

OK = 0
FAILED = 1
USAGE = 64
UNAVAILABLE = 69
NOT_ALLOWED = 77
CONFIG = 78
INTERRUPTED = 130

_CODES: tuple[tuple[type[errors.TarsdError], int], ...] = (
    (errors.ConfigError, CONFIG),
    (errors.NotAllowed, NOT_ALLOWED),
    (errors.Unavailable, UNAVAILABLE),
    (errors.DeadlineExceeded, UNAVAILABLE),
)


def code_of(error: errors.TarsdError) -> int:
    """Return the exit code that tells `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
