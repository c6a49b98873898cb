"""The GGUF reader: real files are told truly, and no bytes at all bring it down."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarsd.engines import bundled
from tarsd.errors import InvalidInput
from tarsd.models import gguf


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(key: str, value: Any, kind: int | None = None) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, bytes):
        assert kind is not None
        return text(key) + struct.pack("<I", kind) + value
    return text(key) + struct.pack("<IQ", 10, value)


def a_file(*entries: bytes, tensors: bytes = b"", tensor_count: int = 0, version: int = 3, **counts: int) -> bytes:
    count = counts.get("entries", len(entries))
    return b"GGUF" + struct.pack("<IQQ", version, tensor_count, count) + b"".join(entries) + tensors


def tensor(name: str, *dimensions: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions) + struct.pack("<IQ", 3, 0)


def read(data: bytes) -> gguf.Header:
    return gguf.read_header(io.BytesIO(data), len(data))


def test_the_bundled_model_says_what_the_library_reads_of_it() -> None:
    library = pytest.importorskip("gguf")
    path = bundled.chat_gguf()
    with path.open("rb") as file:
        header = gguf.read_header(file, path.stat().st_size)
    reader = library.GGUFReader(path)
    fields = reader.fields
    assert header.architecture == fields["general.architecture"].contents() == "llama"
    assert header.context_tokens == fields["llama.context_length"].contents() == 8192
    assert header.template == fields["tokenizer.chat_template"].contents()
    assert header.parameters == sum(int(one.n_elements) for one in reader.tensors)
    assert header.quantization == "Q4_1"
    layers, heads = fields["llama.block_count"].contents(), fields["llama.attention.head_count_kv"].contents()
    assert header.cache_bytes_per_token == 2 * 2 * layers * heads * 64


@given(st.binary(max_size=400))
def test_any_bytes_are_a_header_or_a_clear_refusal(data: bytes) -> None:
    try:
        read(data)
    except InvalidInput:
        return


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_a_header_or_a_clear_refusal(data: st.DataObject) -> None:
    whole = bytearray(
        a_file(
            entry("general.architecture", "llama"),
            entry("llama.context_length", 4096),
            entry("tokens", struct.pack("<IQ", 8, 2) + text("a") + text("b"), 9),
            entry("deep", struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 4, 1) + b"1234", 9),
            tensors=tensor("blk", 4, 4),
            tensor_count=1,
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except InvalidInput:
        return


def test_parameters_are_counted_where_they_are_not_told() -> None:
    told = a_file(tensors=tensor("a", 3, 5) + tensor("b", 7), tensor_count=2)
    assert read(told).parameters == 22
    assert read(a_file(entry("general.parameter_count", 9), tensors=tensor("a", 3), tensor_count=1)).parameters == 9


def test_what_stands_behind_a_vocabulary_is_found() -> None:
    words = struct.pack("<IQ", 8, 3) + text("a") + text("bb") + text("ccc")
    header = read(a_file(entry("tokenizer.tokens", words, 9), entry("general.name", "Small")))
    assert header.name == "Small"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PK\x03\x04" + bytes(40), "does not begin"),
        (a_file(version=1), "version 1"),
        (a_file(entries=2**60), "more than any model"),
        (a_file(tensor_count=2**60), "more than any model"),
        (a_file(text("k" * 2000) + struct.pack("<IQ", 10, 1)), "over the bound"),
        (a_file(entry("k", struct.pack("<Q", 2**62), 8)), "ends within"),
        (a_file(entry("k", struct.pack("<IQ", 4, 2**62), 9)), "ends within"),
        (a_file(entry("k", struct.pack("<IQ", 8, 2**62), 9)), "over the bound"),
        (a_file(entry("k", struct.pack("<IQ", 9, 1) * 4, 9)), "arrays within"),
        (a_file(entry("k", b"", 77)), "unknown kind 77"),
        (a_file(tensors=text("t") + struct.pack("<I", 999), tensor_count=1), "999 dimensions"),
        (a_file(entry("general.name", "Small"))[:-2], "ends within"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(data: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read(data)


def test_a_long_text_is_stepped_over() -> None:
    header = read(a_file(entry("tokenizer.chat_template", "x" * 300_000), entry("general.name", "Small")))
    assert (header.template, header.name) == ("", "Small")
