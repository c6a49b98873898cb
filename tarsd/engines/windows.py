"""Pure: a text as windows that a model of limited length can take.

Rules
1. A text that fits is one window: itself.
2. Windows overlap by an eighth, so that a sentence at a seam is whole in one of them.
3. No window is a stub: the windows are of one size, and the last one ends with the text.
"""

from __future__ import annotations

from collections.abc import Sequence

_OVERLAP_PART = 8


def windows(text: str, offsets: Sequence[tuple[int, int]], room: int) -> list[tuple[str, int]]:
    """Return (window, number of its pieces) for a text whose pieces are at `offsets`, `room` pieces a window."""
    if len(offsets) <= room:
        return [(text, max(1, len(offsets)))]
    stride = room - room // _OVERLAP_PART
    count = -(-(len(offsets) - room) // stride) + 1
    found = []
    for index in range(count):
        first = round(index * (len(offsets) - room) / (count - 1))
        last = first + room - 1
        found.append((text[offsets[first][0] : offsets[last][1]], room))
    return found
