import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines.sse import EventReader
from tarsd.errors import WireError

STREAM = b': ping\r\n\r\nevent: x\ndata: {"a": 1}\n\ndata:two\ndata: lines\r\n\r\n\n\ndata: [DONE]\n\ndata: cut'


@given(st.integers(1, len(STREAM)))
def test_events_come_out_whatever_the_pieces(size: int) -> None:
    reader = EventReader()
    events = [event for at in range(0, len(STREAM), size) for event in reader.feed(STREAM[at : at + size])]
    assert events == [b'{"a": 1}', b"two\nlines", b"[DONE]"]


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(WireError):
        list(EventReader().feed(bytes(2 * 1024 * 1024)))
