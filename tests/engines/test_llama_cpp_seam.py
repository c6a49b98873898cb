"""An answer of the real model that is cut after any token and continued: nothing doubled, nothing missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tarsd import calls
from tarsd.engines import bundled
from tarsd.engines.llama_cpp import LlamaCppSettings
from tarsd.wire import decode, encode
from tests.engines.conftest import COUNT

pytestmark = pytest.mark.model

TOKENS = 40
SEAM = 8  # characters after a cut that must be the uncut answer's, wherever the length bound falls


@pytest.fixture(scope="module")
def worker() -> Iterator[Any]:
    from tarsd.engines.llama_cpp_worker import LlamaCppWorker

    worker = LlamaCppWorker(encode(LlamaCppSettings(str(bundled.chat_gguf()), 2048, 1, 0)))
    yield worker
    worker.close()


def pieces(worker: Any, text: str, partial: str = "", most: int = TOKENS) -> list[str]:
    """Return what the model says as the host asks for it: greedy, and discouraged from repeating itself."""
    messages = [calls.Message("system", "You are TARS."), calls.Message("user", text)]
    asked = calls.ChatRequest(messages, partial, max_tokens=most, temperature=0.0, repeat_penalty=1.1)
    said = []
    for data in worker.generate(encode(asked)):
        if not data:
            worker.tick()
        elif piece := decode(data, calls.ChatItem).text:
            said.append(piece)
    return said


def test_a_cut_answer_goes_on_exactly_as_if_it_had_not_been_cut(worker: Any) -> None:
    whole = pieces(worker, COUNT)
    for cut in range(1, len(whole), 3):
        shown = "".join(whole[:cut])
        assert shown + "".join(pieces(worker, COUNT, shown, TOKENS - cut)) == "".join(whole)


def test_a_cut_beside_characters_of_several_tokens_loses_none_of_them(worker: Any) -> None:
    text = "Write these again, all of them, in the same order: 🌊 1, 🌊 2, 🌊 3, 🌊 4, 🌊 5, 🌊 6"
    whole = pieces(worker, text, most=35)  # over 1.4 of logit between the best two, up to there
    told = "".join(whole)
    assert not told.isascii()
    for cut in range(1, len(whole), 5):
        shown = "".join(whole[:cut])
        rest = "".join(pieces(worker, text, shown, SEAM))
        assert "\ufffd" not in rest
        compared = min(SEAM, len(rest), len(told) - len(shown))
        assert rest[:compared] == told[len(shown) :][:compared]


def test_what_was_said_by_another_node_counts_against_repetition(worker: Any) -> None:
    said = "One, two, three. " * 3
    rest = "".join(pieces(worker, "Count.", said, 24))
    assert "One, two, three. One, two, three." not in rest
