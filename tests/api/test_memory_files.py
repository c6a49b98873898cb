"""The files that memory is exported to."""

from __future__ import annotations

import json

import pytest

from tarsd.api import memory_files as files
from tarsd.api.replies import FieldError
from tarsd.memory.bodies import MemoryBody, ProjectBody, Source, SummaryBody
from tarsd.wire import decode, encode

EVIL = "# Not a title\n<script>alert(1)</script> [x](javascript:alert(1)) **b** | `c`"


def test_a_line_has_all_fields_but_the_salt():
    line = files.line_of("memory", encode(MemoryBody("m1", "Ana: 4 May", tags=["family"], salt=b"secret salt 1234")))
    found = json.loads(line)
    assert (found["kind"], found["id"], found["text"], found["tags"]) == ("memory", "m1", "Ana: 4 May", ["family"])
    assert "salt" not in found
    assert set(found) == {"kind", *MemoryBody.__struct_fields__} - {"salt"}


def test_a_field_of_a_newer_version_is_left_out():
    kind, packed = files.entry_of(b'{"kind": "memory", "id": "m1", "text": "x", "mood": "blue"}')
    assert (kind, decode(packed, MemoryBody)) == ("memory", MemoryBody("m1", "x"))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"kind": "memory", "id": "m1"}', "body"),
        (b'{"kind": "memory", "id": "m/1", "text": "x"}', "id"),
        (b'{"kind": "memory", "id": "m1", "text": "x", "sort": "mood"}', "sort"),
        (b'{"kind": "memory", "id": "m1", "text": "x", "sources": [{"at": -1}]}', "sources[0].at"),
        (b'{"kind": "document", "sha256": "x"}', "kind"),
        (b'{"id": "m1"}', "kind"),
        (b'{"tarsd": "memory", "version": 2}', "version"),
        (b'{"tarsd": "songs"}', "tarsd"),
        (b"{", "body"),
        (b"[1]", "body"),
        (b"\xff", "body"),
    ],
)
def test_a_line_that_does_not_fit_names_its_field(line, field):
    with pytest.raises(FieldError) as raised:
        files.entry_of(line)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("memory", MemoryBody("m1", EVIL, tags=[EVIL], person=EVIL[:60], scope="person")),
        ("summary", SummaryBody("s1", EVIL, EVIL, sources=[Source(EVIL, document=EVIL, keys=[EVIL])])),
        ("project", ProjectBody("p1", EVIL, EVIL, members=[EVIL[:60]])),
    ],
)
def test_nothing_in_a_text_is_structure_of_the_markdown(kind, body):
    shown = files.markdown_of(kind, encode(body))
    assert "<script" not in shown.replace("\\<script", "")
    for line in shown.splitlines():
        assert not line.lstrip("> ").startswith("# ")
        assert "](" not in line.replace("\\](", "")
        assert "**" not in line


def test_markdown_says_what_is_true_when_and_where_it_was_learned():
    body = MemoryBody(
        "m1",
        "The boiler is due",
        sort="fact",
        tags=["home"],
        valid_from=1_780_000_000.0,
        made_at=1_779_000_000.0,
        sources=[Source("c1", at=1_779_000_000.0)],
        replaced_by="memory/m2",
    )
    shown = files.markdown_of("memory", encode(body))
    assert "> The boiler is due\n" in shown
    for told in ("2026-05-17", "from 2026-05-28", "tags home", "learned from a conversation, 2026-05-17", "memory/m2"):
        assert told in shown
