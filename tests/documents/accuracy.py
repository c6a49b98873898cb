"""How far a text read by OCR is from the truth: edit distance over characters (CER) and over words (WER)."""

from __future__ import annotations

from collections.abc import Sequence


def distance(truth: Sequence[str], got: Sequence[str]) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(got) + 1))
    for number, one in enumerate(truth, 1):
        above, row[0] = row[0], number
        for index, other in enumerate(got, 1):
            above, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, above + (one != other))
    return row[-1]


def error_rates(truth: str, got: str) -> tuple[float, float]:
    """Return (CER, WER), white space evened out."""
    truth, got = " ".join(truth.split()), " ".join(got.split())
    words = truth.split()
    return distance(truth, got) / len(truth), distance(words, got.split()) / len(words)
