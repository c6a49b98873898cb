"""Pure: how long to wait before the next try of something that failed.

Rules
1. Each failure doubles the wait, from `first_s` up to `most_s`.
2. What worked for `forgiven_after_s`, or did once what it is there for (`worked`), starts from `first_s` again. A crash
   right after a start does not: only what crashes without any use in between comes back more slowly each time.
"""

from __future__ import annotations


class Backoff:
    """The waits of one thing that is started again and again."""

    def __init__(self, first_s: float = 0.1, most_s: float = 30.0, forgiven_after_s: float = 60.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._forgiven_after_s = forgiven_after_s
        self._next_s = first_s

    def worked(self) -> None:
        """Say that it did what it is there for."""
        self._next_s = self._first_s

    def failed(self, worked_s: float = 0.0) -> float:
        """Say that it failed after it had worked for `worked_s`; return the seconds to wait now."""
        if worked_s >= self._forgiven_after_s:
            self._next_s = self._first_s
        wait_s = self._next_s
        self._next_s = min(self._next_s * 2, self._most_s)
        return wait_s
