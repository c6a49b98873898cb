"""Which memories are so near to a question by meaning that they may answer it though they share no word with it. Pure.

Something is always nearest; most of the time it has nothing to do with the question.

Rules
1. A cosine of `LEAST` at least. Measured with MiniLM: a memory in other words than the question .36 to .82, others
   to .25.
2. Of a language that the model does not know, nothing: to an English model all Spanish sentences are near to each
   other.
3. With a model of many languages it also stands out from the others, since such models often call everything near.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from tarsd.names import RecordId

LEAST = 0.33
APART = 0.15
OTHERS = 3  # fewer say nothing of what is usual


def near_enough(scores: Mapping[RecordId, float], language: str, model: frozenset[str] | None) -> list[str]:
    """Return the keys that are, nearest first; `model`: the languages it knows, None for all."""
    if model is not None and language not in model:
        return []
    least = LEAST
    if model is None:
        if len(scores) <= OTHERS:
            return []
        least = max(LEAST, median(scores.values()) + APART)
    return [str(key) for key, score in sorted(scores.items(), key=lambda each: -each[1]) if score >= least]
