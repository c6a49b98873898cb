from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.calls import Headers
from tarsd.errors import InvalidInput
from tarsd.names import TraceId
from tarsd.rpc.headers import from_http, load_from_http, load_to_http, to_http


@given(
    st.floats(0.001, 600_000).map(lambda value: round(value, 3)),
    st.integers(0, 8),
    st.from_regex(r"[0-9a-f]{0,16}", fullmatch=True),
)
def test_headers_survive_their_way(deadline_s: float, hops: int, trace: str) -> None:
    headers = Headers(deadline_s=deadline_s, hops=hops, trace=TraceId(trace))
    assert from_http(to_http(headers)) == headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("X-Tarsd-Deadline", value) for value in ("", "x", "0", "-1", "nan", "inf", "1e9")),
        *(("X-Tarsd-Hops", value) for value in ("", "-1", "9", "100", "1.0", "٣")),
        *(("X-Tarsd-Trace", value) for value in ("a b", "x\ty", "a" * 65, "é")),
    ],
)
def test_a_wrong_header_is_named(name: str, value: str) -> None:
    good = to_http(Headers(deadline_s=1, hops=1, trace=TraceId("")))
    with pytest.raises(InvalidInput, match=name):
        from_http(good | {name: value})


@given(st.binary(max_size=64))
def test_the_load_survives_its_way(load: bytes) -> None:
    assert load_from_http(load_to_http(load)) == load


@given(st.text(max_size=40))
def test_a_broken_load_is_none(text: str) -> None:
    assert isinstance(load_from_http({"X-Tarsd-Load": text}), bytes)
