"""Pure: what may be shown of the text that a model is writing.

Rules
1. No character is cut: bytes of an unfinished one wait for the rest. Where a limit cuts the answer within one, it is
   left out: U+FFFD would be the answer's last letter in every client.
2. A stop string is never shown, nor anything after it; its possible beginning at the end of the text waits.
3. A server that begins its continuation by repeating the text it should continue has the repetition dropped. A few
   letters that come twice are none.
4. A server that trims the text it continues begins with a space that is shown already: that one is dropped.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

SHORTEST_REPETITION = 4  # characters; "1" after "1" is eleven


class Utf8:
    """Turns the bytes of tokens into text (rule 1)."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes) -> str:
        """Return the characters that `piece` completes."""
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """Forget a character that never came whole; nothing is left to show."""
        self._decoder.reset()
        return ""


class StopFilter:
    """Holds back what may become a stop string (rule 2); `stopped` once one came, `stopped_by` says which."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self.stopped_by = ""
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what may be shown now."""
        if not self._stops:
            return text
        if self.stopped:
            return ""
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, self.stopped_by = min(found, key=lambda each: each[0])
            self.stopped = True
            shown, self._held = self._held[:at], ""
            return shown
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def finish(self) -> str:
        """Return what was held back, now that no more comes."""
        shown, self._held = self._held, ""
        return shown


class RepetitionFilter:
    """Drops the beginning of an answer as far as it repeats `partial` whole; keeps the seam even (rules 3 and 4)."""

    def __init__(self, partial: str) -> None:
        self._whole = partial.lstrip()
        self._bare = self._whole.rstrip()
        self._may_repeat = len(self._bare) >= SHORTEST_REPETITION
        self._ends_in_space = partial.endswith(" ") and not partial[:-1].endswith((" ", "\n", "\t"))
        self._held = ""
        self._open = bool(partial)

    def feed(self, text: str) -> str:
        """Return what may be shown now; what could still be the repetition waits."""
        if not self._open:
            return text
        self._held += text
        begun = self._held.lstrip()
        if not self._held or (self._may_repeat and self._whole.startswith(begun) and begun != self._whole):
            return ""
        return self.finish()

    def finish(self) -> str:
        """Return what was held back, now that it is decided what it is."""
        held, self._held, self._open = self._held, "", False
        begun = held.lstrip()
        if self._may_repeat and begun.startswith(self._whole):
            return begun[len(self._whole) :]
        if self._may_repeat and begun.startswith(self._bare):
            return begun[len(self._bare) :].lstrip()  # it repeats all but the white space that is shown already
        trimmed = self._ends_in_space and held.startswith(" ") and not held.startswith("  ")
        return held[1:] if trimmed else held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a true beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
