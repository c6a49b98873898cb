"""The replies that handlers build as plain data, as types: for the description of the API only.

They say what is always there; more fields may come. That replies are so is held by tests against a real server.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from tarsd.api.inference import Extra
from tarsd.api.watching import ClusterEntry
from tarsd.calls import ForgetItem, IngestItem


class OwnError(Struct):
    """What failed: a class of the error tree, a sentence for people, the field that is wrong."""

    name: str
    message: str
    field: str | UnsetType = UNSET
    retry_after_s: float | UnsetType = UNSET


class OwnErrorReply(Struct):
    """An error below /api."""

    error: OwnError


class OpenAIError(Struct):
    """What failed, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorReply(Struct):
    """An error below /v1."""

    error: OpenAIError


class OllamaErrorReply(Struct):
    """An error of Ollama's paths."""

    error: str


class AnthropicError(Struct):
    """What failed, in Anthropic's words."""

    type: str
    message: str


class AnthropicErrorReply(Struct):
    """An error of Anthropic's paths."""

    type: str
    error: AnthropicError


class UsageReply(Struct):
    """Tokens as OpenAI counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatReply(Struct, kw_only=True):
    """A chat completion; streamed, it comes as chunks and `[DONE]`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: UsageReply
    tarsd: Extra | UnsetType = UNSET


class TextReply(Struct, kw_only=True):
    """A text completion."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: UsageReply


class ResponseReply(Struct, kw_only=True):
    """A response; streamed, it comes as named events."""

    id: str
    object: Literal["response"]
    status: str
    model: str
    output: list[dict[str, Any]]


class EmbeddingUsage(Struct):
    """Tokens of the texts; 0 = not counted."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingReply(Struct):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    model: str
    usage: EmbeddingUsage


class ModelReply(Struct):
    """One model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsReply(Struct):
    """All models, the assistant first."""

    object: Literal["list"]
    data: list[ModelReply]


class ReceiptsReply(Struct):
    """What was forgotten, newest first."""

    receipts: list[ForgetItem]


class JobsReply(Struct):
    """Documents that are read in."""

    jobs: list[IngestItem]


class MembersReply(Struct):
    """The members as this node sees them, itself first."""

    node: str
    members: list[dict[str, Any]]


class ClusterStatusReply(Struct):
    """Every node's own account."""

    node: str
    nodes: list[ClusterEntry]


class InviteReply(Struct):
    """A join token."""

    token: str
    zone: str
    expires_s: float


class HealthReply(Struct):
    """Whether the node is healthy, and why not."""

    healthy: bool
    node: str
    version: str
    problems: list[str]


class SignedInReply(Struct):
    """The cookie is in the headers."""

    signed_in: bool


class ManualReply(Struct):
    """What this API offers."""

    node: str
    version: str
    routes: list[dict[str, str]]
