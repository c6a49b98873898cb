"""Keyword search on real questions: XQuAD (google-deepmind/xquad), which is not part of this repository.

`TARSD_XQUAD=/path/of/the/folder` with xquad.es.json and xquad.en.json runs it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from memory_help import OpenStore, add_document

FOLDER = os.environ.get("TARSD_XQUAD", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="TARSD_XQUAD names no folder with xquad.es.json and xquad.en.json")

# Measured .923/.989 and .939/.987; a question or two may go either way with another stemmer.
BOUNDS = {"es": (0.91, 0.98), "en": (0.92, 0.98)}
QUESTIONS = 1190


def load(language: str) -> tuple[list[str], list[tuple[str, int]]]:
    data = json.loads((Path(FOLDER) / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in data for paragraph in article["paragraphs"]]
    questions = [(each["question"], number) for number, one in enumerate(paragraphs) for each in one["qas"]]
    return [paragraph["context"] for paragraph in paragraphs], questions


@pytest.mark.parametrize("hint", [True, False], ids=["language known", "language unknown"])
@pytest.mark.parametrize("language", ["es", "en"])
async def test_the_right_paragraph_is_found(open_store: OpenStore, language: str, hint: bool) -> None:
    texts, questions = load(language)
    store = await open_store()
    ids = await add_document(store, "xquad", texts, language)
    places = []
    for question, right in questions:
        found = [identity for identity, _ in await store.keyword_search(question, 5, language if hint else "")]
        places.append(found.index(ids[right]) if ids[right] in found else None)
    first = sum(place == 0 for place in places) / QUESTIONS
    fifth = sum(place is not None for place in places) / QUESTIONS
    print(f"{language}: R@1 {first:.4f}, R@5 {fifth:.4f}")
    assert (first, fifth) >= BOUNDS[language]
    assert fifth >= BOUNDS[language][1]
