"""Which keys a memory or summary names, so that what goes along with one is found without reading all. Pure.

Rules
1. It names what took its place, what it was made from, and the project and conversations that it belongs to.
2. A conversation is named by its id alone: whose it is, the text itself says.
"""

from __future__ import annotations

from collections.abc import Iterable

from tarsd.memory.bodies import Body, MemoryBody, SummaryBody, conversation_key, document_key, project_key


def links_of(body: Body) -> set[str]:
    """Return the keys that it names; none but a memory or a summary does."""
    if not isinstance(body, MemoryBody | SummaryBody):
        return set()
    named = {body.replaced_by}
    if body.project:
        named.add(project_key(body.project))
    conversations = {source.conversation for source in body.sources}
    if isinstance(body, SummaryBody):
        conversations.add(body.conversation)
    named |= {conversation_key(each) for each in conversations if each}
    named |= {document_key(source.document) for source in body.sources if source.document}
    return named.union(*(source.keys for source in body.sources)) - {""}


def as_named(keys: Iterable[str]) -> list[str]:
    """Return keys as links name them (rule 2), each once."""
    return sorted({"/".join(key.split("/")[:2]) if key.startswith("conversation/") else key for key in keys})
