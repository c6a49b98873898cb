"""How errors are told where a client expects neither ours nor OpenAI's shape. Pure.

Ollama's paths:     {"error": "model 'x' not found"}; to what our own commands use too, `name` is added
Anthropic's paths:  {"type": "error", "error": {"type": "not_found_error", "message": "…"}}
"""

from __future__ import annotations

from typing import Any

OLLAMA_PATHS = frozenset(
    f"/api/{name}"
    for name in ("chat", "generate", "embed", "embeddings", "tags", "show", "ps", "version", "pull", "delete")
)
MESSAGES_PATH = "/v1/messages"

_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


_OUR_COMMANDS = frozenset({"/api/pull", "/api/delete"})


def error_as_expected(path: str, sentence: str, status: int, name: str) -> dict[str, Any] | None:
    """Return the error's body in the shape that clients of `path` expect; None = no other shape than usual."""
    if path in OLLAMA_PATHS:
        return {"error": sentence} | ({"name": name} if path in _OUR_COMMANDS else {})
    if path == MESSAGES_PATH or path.startswith(MESSAGES_PATH + "/"):
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": sentence}}
    return None
