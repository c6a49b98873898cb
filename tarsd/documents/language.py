"""Finds out in which language a passage is written; for the parse worker, since the model needs numpy and 130 MiB.

py3langid (naive Bayes over byte n-grams) is asked among the languages of `KNOWN` only: the fewer there are, the surer
it is of a short passage.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any

KNOWN = tuple("en es fr de pt it ca gl eu nl sv da no fi pl cs ro hu tr ru uk el ar he zh ja ko".split())  # noqa: SIM905
_SURE = 0.8
_MIN_LETTERS = 20

_LETTERS = re.compile(r"[^\W\d_]+")


def detect(text: str) -> str:
    """Return the language of `text` as ISO 639-1, "" when there is too little of it to be sure."""
    words = " ".join(_LETTERS.findall(text))
    if len(words) < _MIN_LETTERS:
        return ""
    language, probability = _identifier().classify(words)
    return str(language) if probability >= _SURE else ""


@cache
def _identifier() -> Any:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would keep a stack for each core
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(KNOWN))
    return identifier
