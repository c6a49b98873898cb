import pytest

from tarsd.calls import ChatItem
from tarsd.engines.pace import Pace


def speak(pace: Pace, tokens: int, per_s: float) -> None:
    part = pace.start(0.0)
    for index in range(tokens):
        pace.saw(part, ChatItem(text="x"), 100 + index / per_s)
    pace.saw(part, ChatItem(finish_reason="stop"), 100 + (tokens - 1) / per_s)


def test_speed_counts_from_the_first_token() -> None:
    pace = Pace()
    speak(pace, 21, per_s=10)
    assert pace.tokens_per_s == pytest.approx(10)


def test_a_new_answer_moves_the_average_a_little_and_a_short_one_not() -> None:
    pace = Pace()
    speak(pace, 21, per_s=10)
    speak(pace, 21, per_s=20)
    assert pace.tokens_per_s == pytest.approx(13)
    speak(pace, 3, per_s=1000)
    assert pace.tokens_per_s == pytest.approx(13)
