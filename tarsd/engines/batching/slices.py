"""Pure: how much of the waiting prompts goes into the next step.

Rules
1. While nobody's answer is being written a step may last `ALONE_S`: large slices are fast, and between two of them an
   answer can be cancelled. While answers run it may last `SHARED_S`, so that no reader sees a pause.
2. The slice follows the time that the last steps took, from `LEAST` to the size of a batch; it grows at most to twice.
3. Several prompts share a step evenly, what is left over goes to the one that came first: a short one is through soon,
   and a long one goes on too.
"""

from __future__ import annotations

from collections.abc import Sequence

ALONE_S = 0.4
SHARED_S = 0.15
FIRST = 16  # a large model on an old PC takes seconds for it
LEAST = 8  # 16 beside four answers took 0.14 s already, with the bundled model and one thread


class Slices:
    """The size of a step's prompt part, learned from how long steps take."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = {False: min(FIRST, most), True: LEAST}

    def size(self, *, is_shared: bool) -> int:
        """Return how many prompt tokens fit into the next step; `is_shared`: answers are being written meanwhile."""
        return self._size[is_shared]

    def warmed_up(self, tokens: int, seconds: float) -> None:
        """Learn from a first step that nobody waited for: later ones need not grow step by step."""
        self._size[False] = min(max(_fitting(tokens, seconds, ALONE_S), self._size[False]), self._most)

    def took(self, tokens: int, seconds: float, *, is_shared: bool) -> None:
        """Learn from a step with so many prompt tokens (rule 2)."""
        if tokens < min(LEAST, self._size[is_shared]):
            return  # the end of a prompt says little
        target_s = SHARED_S if is_shared else ALONE_S
        fitting = _fitting(tokens, seconds, target_s)
        self._size[is_shared] = min(max(fitting, LEAST), 2 * self._size[is_shared], self._most)


def _fitting(tokens: int, seconds: float, target_s: float) -> int:
    return int(tokens * target_s / max(seconds, 1e-6)) // LEAST * LEAST


def shares(left: Sequence[int], size: int) -> list[int]:
    """Return how many tokens of each prompt go into a step of `size` tokens (rule 3); `left` is in order of arrival."""
    given = [0] * len(left)
    while size > 0 and (open_ := [at for at, tokens in enumerate(left) if given[at] < tokens]):
        each = max(1, size // len(open_))
        for at in open_:
            take = min(each, left[at] - given[at], size)
            given[at] += take
            size -= take
    return given
