from __future__ import annotations

import pytest

from tarsd.errors import WireError
from tarsd.memory import bodies
from tarsd.memory.bodies import DocumentBody, PassageBody, SummaryBody
from tarsd.wire import encode

SHA = "0" * 64
GOOD = {
    "document": DocumentBody(SHA, "a.pdf"),
    "passage": PassageBody(SHA, 2, 0, 9, "some text", "es"),
    "summary": SummaryBody("s1", "Title", "Text"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_body_is_read_back_under_its_own_key_only(kind: str) -> None:
    body = GOOD[kind]
    key = bodies.key_of(body)
    assert bodies.read(kind, key, encode(body)) == body
    with pytest.raises(WireError, match="the key should be"):
        bodies.read(kind, key + "0", encode(body))


def test_passages_lie_below_their_document() -> None:
    assert bodies.key_of(GOOD["passage"]).startswith(bodies.document_key(SHA) + "/")


def test_an_unknown_kind_is_kept_unread() -> None:
    assert bodies.read("from the future", "any", b"\xff\xff") is None
    assert bodies.is_readable("from the future", "any", b"\xff\xff")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("passage", {"document": SHA, "page": -1, "start": 0, "end": 1, "text": ""}),
        ("passage", {"document": SHA, "page": 2**63, "start": 0, "end": 1, "text": ""}),
        ("passage", {"document": "../etc", "page": 1, "start": 0, "end": 1, "text": ""}),
        ("passage", {"document": SHA, "page": 1, "start": 0, "end": 1, "text": 7}),
        ("passage", {"document": SHA, "page": 1, "start": 0, "end": 1, "text": "", "language": "español"}),
        ("document", {"sha256": SHA}),
        ("document", {"sha256": SHA, "file": "x", "added_at": float("nan")}),
        ("document", {"sha256": SHA, "file": "x", "added_at": float("inf")}),
        ("summary", {"id": "a/b", "title": "", "text": ""}),
    ],
    ids=str,
)
def test_a_body_that_is_not_what_its_kind_says_is_unreadable(kind: str, fields: dict[str, object]) -> None:
    with pytest.raises(WireError) as caught:
        bodies.read(kind, "", encode(fields))
    assert "key" not in str(caught.value)


def test_fields_of_a_newer_version_do_not_matter() -> None:
    fields = {"sha256": SHA, "file": "x", "colour": "red"}
    assert bodies.is_readable("document", bodies.document_key(SHA), encode(fields))
