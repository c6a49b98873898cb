"""Messages that are made to keep who reads them by rules busy."""

from __future__ import annotations

HOSTILE = [
    "remember that " + " " * 31_000 + "x",
    "remember that x for everybody" + " " * 31_000 + "y",
    "forget " + "a," * 15_000,
    "forget " + " " * 31_000 + ",x",
    "a" * 32_000,
    "," * 31_000,
    "my car is a " + "B" * 31_000,
]
