"""Which path needs which scope: one table for the whole HTTP API. Pure data.

Rules
1. Any one of a path's scopes opens it; `admin` opens everything.
2. A path that is `always` guarded needs a token on loopback too: it changes the node or the cluster.
3. A path without an entry needs the admin scope: what was forgotten is closed. `tests/api/test_scopes.py` finds it.
4. Where only looking is allowed to more, `NEEDS` says what looking needs, and `CHANGING` what every other method does.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Scope(StrEnum):
    """What a named token may be used for."""

    CHAT = "chat"  # ask: /ws and every inference API, embeddings too
    DOCUMENTS = "documents"  # take in, search, follow jobs
    STATUS = "status"  # members, status, metrics, which models there are
    MODELS = "models"  # pull, delete and measure models
    MEMORY_READ = "memory:read"  # see what is remembered: memories, projects, receipts, the diary; export
    MEMORY_WRITE = "memory:write"  # save, change, forget, undo, import; sees what it changes
    ADMIN = "admin"  # everything


class Needs(NamedTuple):
    """What opens a path."""

    scopes: frozenset[Scope]
    always: bool = False


_ANY = frozenset(Scope)
_CHAT = Needs(frozenset({Scope.CHAT}))
_DOCUMENTS = Needs(frozenset({Scope.DOCUMENTS}))
_STATUS = Needs(frozenset({Scope.STATUS}))
_LISTING = Needs(frozenset({Scope.CHAT, Scope.MODELS, Scope.STATUS}))  # who chats has to choose a model
_MODELS = Needs(frozenset({Scope.MODELS}), always=True)
_MEMORY = Needs(frozenset({Scope.MEMORY_READ, Scope.MEMORY_WRITE}))
_MEMORY_CHANGING = Needs(frozenset({Scope.MEMORY_WRITE}))
_ADMIN = Needs(frozenset({Scope.ADMIN}), always=True)
_FORGOTTEN = Needs(frozenset({Scope.ADMIN}))

# the page itself, its signing in, and whether the node lives: open to everybody who reaches it
OPEN_PATHS = frozenset({"/", "/page/{name}", "/healthz", "/api/session"})

NEEDS: dict[str, Needs] = {
    "/ws": _CHAT,
    "/v1/chat/completions": _CHAT,
    "/v1/completions": _CHAT,
    "/v1/responses": _CHAT,
    "/v1/embeddings": _CHAT,
    "/v1/messages": _CHAT,
    "/v1/messages/count_tokens": _CHAT,
    "/api/chat": _CHAT,
    "/api/generate": _CHAT,
    "/api/embed": _CHAT,
    "/api/embeddings": _CHAT,
    "/v1/models": _LISTING,
    "/v1/models/{name}": _LISTING,
    "/api/models": _LISTING,
    "/api/tags": _LISTING,
    "/api/show": _LISTING,
    "/api/ps": _LISTING,
    "/api/version": Needs(_ANY),
    "/api/documents": _DOCUMENTS,
    "/api/documents/{sha256}": _DOCUMENTS,
    "/api/jobs": _DOCUMENTS,
    "/api/search": _DOCUMENTS,
    "/api/members": _STATUS,
    "/api/status": _STATUS,
    "/api/memory/status": _STATUS,
    "/metrics": _STATUS,
    "/api/pull": _MODELS,
    "/api/delete": _MODELS,
    "/api/measure": _MODELS,
    "/api/invite": _ADMIN,
    "/api/nightly": _ADMIN,
    "/api/backup": _ADMIN,
    "/api/revoke": _ADMIN,
    "/api/rotate": _ADMIN,
    "/api/memories": _MEMORY,
    "/api/memories/{key}": _MEMORY,
    "/api/conversations": _MEMORY,
    "/api/projects": _MEMORY,
    "/api/projects/{id}": _MEMORY,
    "/api/receipts": _MEMORY,
    "/api/receipts/{id}": _MEMORY,
    "/api/diary": _MEMORY,
    "/api/diary/{id}/undo": _MEMORY,
    "/api/memory/settings": _MEMORY,
    "/api/memory/export": _MEMORY,
    "/api/memory/import": _MEMORY,
    "/api": Needs(_ANY),
    "/api/openapi.json": Needs(_ANY),
}


# rule 4: what every method but GET and HEAD needs, where that is more
CHANGING: dict[str, Needs] = {path: _MEMORY_CHANGING for path, needs in NEEDS.items() if needs is _MEMORY}


def needs_of(path: str, method: str = "GET") -> Needs:
    """Return what opens `path`, given as its route is written, for `method` (rules 3 and 4)."""
    needs = NEEDS.get(path, _FORGOTTEN)
    return needs if method in ("GET", "HEAD") else CHANGING.get(path, needs)


def opens(held: Iterable[Scope], needs: Needs) -> bool:
    """Tell whether a token with these scopes opens what needs that (rule 1)."""
    return not (needs.scopes | {Scope.ADMIN}).isdisjoint(held)
