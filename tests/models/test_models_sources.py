"""Where a model comes from, in words: understood or refused, for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.errors import InvalidInput
from tarsd.models.sources import HubFile, check_name, check_sha256, hub_file, is_hub, name_of


def test_the_hubs_files_are_understood() -> None:
    assert hub_file("hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf") == HubFile(
        "Qwen", "Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf"
    )
    assert hub_file("hf.co/a/b@v1.2/deep/er/x.gguf") == HubFile("a", "b", "deep/er/x.gguf", "v1.2")
    assert not is_hub("/home/ana/x.gguf")
    assert name_of("deep/er/x.Q4.gguf") == "x.Q4"


@pytest.mark.parametrize(
    "source", ["hf:", "hf:a/b", "hf:a/x.gguf", "hf:a/b/../x.gguf", "hf:a/b/x.bin", "hf:a/b/x.gguf?y", "hf:a b/c/x.gguf"]
)
def test_what_is_no_file_of_the_hub_is_refused(source: str) -> None:
    with pytest.raises(InvalidInput, match="source"):
        hub_file(source)


@given(st.text(max_size=80))
def test_any_text_is_a_file_of_the_hub_or_refused(text: str) -> None:
    try:
        found = hub_file("hf:" + text)
    except InvalidInput:
        return
    assert ".." not in found.path
    assert found.path.endswith(".gguf")


@given(st.text(max_size=80))
def test_any_name_is_safe_as_a_files_or_refused(text: str) -> None:
    try:
        assert "/" not in check_name(text)
    except InvalidInput:
        return


def test_a_hash_is_64_small_hex_digits_or_none() -> None:
    assert check_sha256("") == ""
    assert check_sha256("a" * 64) == "a" * 64
    with pytest.raises(InvalidInput, match="sha256"):
        check_sha256("A" * 64)
