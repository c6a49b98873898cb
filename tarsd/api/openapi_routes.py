"""What each route takes and gives: the data of the OpenAPI document, one entry a route.

A new route needs one line here and one in `scopes`; tests say which is missing. A description is the handler's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from tarsd import calls
from tarsd.api import openapi_shapes as shapes
from tarsd.api.anthropic_shapes import MessagesBody
from tarsd.api.diary import MAX_NAME_CHARACTERS
from tarsd.api.documents import MAX_HITS, MAX_JOBS, MAX_NAME_BYTES, MAX_QUERY_CHARACTERS
from tarsd.api.embeddings import EmbeddingRequest
from tarsd.api.memories import (
    MAX_LIMIT,
    MAX_OFFSET,
    MemoryChange,
    NewMemory,
    ProjectId,
    Scope,
    Sort,
)
from tarsd.api.memories import MAX_QUERY_CHARACTERS as MAX_MEMORY_QUERY
from tarsd.api.memory_moving import Imported, SettingsChange
from tarsd.api.memory_status import MemoryStatusReply
from tarsd.api.models import DeleteBody, MeasureBody, PullBody
from tarsd.api.ollama_embed import EmbedBody, OldEmbedBody
from tarsd.api.ollama_models import ShowBody
from tarsd.api.ollama_shapes import ChatBody, GenerateBody
from tarsd.api.openai_shapes import CompletionRequest
from tarsd.api.page_files import SignIn
from tarsd.api.projects import NewProject, ProjectChange
from tarsd.api.responses_request import ResponseRequest
from tarsd.api.text_completions import TextRequest
from tarsd.api.trust import RevokeBody
from tarsd.api.watching import InviteRequest, NightlyBody

JSON = "application/json"
LINES = "application/x-ndjson"
EVENTS = "text/event-stream"


class Parameter(NamedTuple):
    """A parameter of the query."""

    type: Any
    required: bool = False


class Described(NamedTuple):
    """One route. `also`: further statuses and their type, None = without a body."""

    reply: Any = None  # None: no JSON; several: any of them
    content: tuple[str, ...] = (JSON,)
    body: Any = None
    body_required: bool = True
    body_content: str = JSON
    query: Mapping[str, Parameter] = {}
    also: Mapping[int, Any] = {}
    status: int = 200


def number(low: int, high: int) -> Parameter:
    """Return an optional whole number within bounds."""
    return Parameter(Annotated[int, Meta(ge=low, le=high)])


_LANGUAGE = Parameter(Annotated[str, Meta(pattern=r"^([a-z]{2})?$")])
_FLAG = number(0, 1)

ROUTES: dict[tuple[str, str], Described] = {
    ("GET", "/"): Described(content=("text/html",), also={304: None}),
    ("GET", "/page/{name}"): Described(content=("*/*",), also={304: None}),
    ("POST", "/api/session"): Described(shapes.SignedInReply, body=SignIn),
    ("GET", "/ws"): Described(content=(), status=101),
    ("POST", "/v1/chat/completions"): Described(shapes.ChatReply, (JSON, EVENTS), CompletionRequest),
    ("POST", "/v1/completions"): Described(shapes.TextReply, (JSON, EVENTS), TextRequest),
    ("POST", "/v1/responses"): Described(shapes.ResponseReply, (JSON, EVENTS), ResponseRequest),
    ("POST", "/v1/embeddings"): Described(shapes.EmbeddingReply, body=EmbeddingRequest),
    ("GET", "/v1/models"): Described(shapes.ModelsReply),
    ("GET", "/v1/models/{name}"): Described(shapes.ModelReply),
    ("POST", "/v1/messages"): Described(dict[str, Any], (JSON, EVENTS), MessagesBody),
    ("POST", "/v1/messages/count_tokens"): Described(shapes.AnthropicErrorReply, status=404),
    ("POST", "/api/chat"): Described(dict[str, Any], (JSON, LINES), ChatBody),
    ("POST", "/api/generate"): Described(dict[str, Any], (JSON, LINES), GenerateBody),
    ("POST", "/api/embed"): Described(dict[str, Any], body=EmbedBody),
    ("POST", "/api/embeddings"): Described(dict[str, Any], body=OldEmbedBody),
    ("GET", "/api/tags"): Described(dict[str, Any]),
    ("GET", "/api/ps"): Described(dict[str, Any]),
    ("POST", "/api/show"): Described(dict[str, Any], body=ShowBody),
    ("GET", "/api/version"): Described(dict[str, str]),
    ("GET", "/api/models"): Described(dict[str, Any]),
    ("POST", "/api/pull"): Described(dict[str, Any], (JSON, LINES), PullBody),
    ("DELETE", "/api/delete"): Described(content=(), body=DeleteBody),
    ("POST", "/api/measure"): Described(content=(LINES,), body=MeasureBody),
    ("POST", "/api/documents"): Described(
        content=(LINES,),
        body=bytes,
        body_content="application/octet-stream",
        query={
            "file": Parameter(Annotated[str, Meta(min_length=1, max_length=MAX_NAME_BYTES)], required=True),
            "language": _LANGUAGE,
            "wait": _FLAG,
        },
    ),
    ("DELETE", "/api/documents/{sha256}"): Described(calls.ForgetItem, query={"preview": _FLAG}),
    ("GET", "/api/jobs"): Described(
        shapes.JobsReply, (JSON, LINES), query={"limit": number(1, MAX_JOBS), "job": Parameter(str)}
    ),
    ("GET", "/api/search"): Described(
        calls.SearchItem,
        query={
            "q": Parameter(Annotated[str, Meta(min_length=1, max_length=MAX_QUERY_CHARACTERS)], required=True),
            "limit": number(1, MAX_HITS),
            "language": _LANGUAGE,
        },
    ),
    ("GET", "/api/memories"): Described(
        calls.MemoriesItem,
        query={
            "q": Parameter(Annotated[str, Meta(max_length=MAX_MEMORY_QUERY)]),
            "kind": Parameter(Literal["memory", "summary"]),
            "sort": Parameter(Sort),
            "scope": Parameter(Scope),
            "project": Parameter(ProjectId),
            "history": _FLAG,
            "limit": number(1, MAX_LIMIT),
            "offset": number(0, MAX_OFFSET),
        },
    ),
    ("POST", "/api/memories"): Described(calls.SaveItem, body=NewMemory, status=201),
    ("GET", "/api/memories/{key}"): Described(calls.Memory),
    ("PATCH", "/api/memories/{key}"): Described(calls.SaveItem, body=MemoryChange),
    ("DELETE", "/api/memories/{key}"): Described(calls.ForgetItem, query={"preview": _FLAG}),
    ("GET", "/api/conversations"): Described(calls.ConversationsItem),
    ("GET", "/api/receipts"): Described(shapes.ReceiptsReply, query={"limit": number(1, MAX_LIMIT)}),
    ("GET", "/api/receipts/{id}"): Described(calls.ForgetItem),
    ("GET", "/api/projects"): Described(calls.ProjectsItem),
    ("POST", "/api/projects"): Described(calls.SaveProjectItem, body=NewProject, status=201),
    ("PATCH", "/api/projects/{id}"): Described(calls.SaveProjectItem, body=ProjectChange),
    ("GET", "/api/diary"): Described(
        calls.DiaryItem,
        query={
            "job": Parameter(Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]),
            "limit": number(1, MAX_LIMIT),
        },
    ),
    ("POST", "/api/diary/{id}/undo"): Described(calls.UndoItem),
    ("GET", "/api/memory/settings"): Described(calls.SettingsItem),
    ("PATCH", "/api/memory/settings"): Described(calls.SettingsItem, body=SettingsChange),
    ("GET", "/api/memory/status"): Described((MemoryStatusReply,)),
    ("GET", "/api/memory/export"): Described(
        content=(LINES, "text/markdown"), query={"format": Parameter(Literal["json", "markdown"]), "history": _FLAG}
    ),
    ("POST", "/api/memory/import"): Described(
        Imported, body=bytes, body_content="application/octet-stream", query={"preview": _FLAG}
    ),
    ("GET", "/api/members"): Described(shapes.MembersReply, (JSON, LINES), query={"watch": _FLAG}),
    ("GET", "/api/status"): Described((calls.StatusItem, shapes.ClusterStatusReply), query={"cluster": _FLAG}),
    ("POST", "/api/nightly"): Described(content=(LINES,), body=NightlyBody, body_required=False),
    ("POST", "/api/invite"): Described(shapes.InviteReply, body=InviteRequest, body_required=False),
    ("POST", "/api/backup"): Described(dict[str, Any]),
    ("POST", "/api/revoke"): Described(dict[str, Any], body=RevokeBody),
    ("POST", "/api/rotate"): Described(dict[str, Any]),
    ("GET", "/api/rotate"): Described(dict[str, Any]),
    ("GET", "/metrics"): Described(content=("text/plain",)),
    ("GET", "/healthz"): Described(shapes.HealthReply, also={503: shapes.HealthReply}),
    ("GET", "/api"): Described(shapes.ManualReply),
    ("GET", "/api/openapi.json"): Described(dict[str, Any]),
}
