"""The small vocabulary that every floor shares: NewTypes and the fixed sets of words."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

NodeId = NewType("NodeId", str)  # 32 hex digits: first 16 bytes of SHA-256 over the public key (SubjectPublicKeyInfo)
NodeName = NewType("NodeName", str)  # the human name, such as "pc1"
Capability = NewType("Capability", str)
RecordId = NewType("RecordId", str)  # "<origin>:<seq>"
ConversationId = NewType("ConversationId", str)
AnswerId = NewType("AnswerId", str)  # nobody can guess it: whoever knows it goes on with the answer
TraceId = NewType("TraceId", str)  # 16 hex digits, one per question, in every log line about it


class Zone(StrEnum):
    """How far a node is trusted; written into its certificate, never self-declared."""

    CORE = "core"
    LAB = "lab"


class RoleName(StrEnum):
    """The bundles of capabilities that a config can turn on."""

    COGNITIVE = "cognitive"
    PROCESSING = "processing"
    ORCHESTRATOR = "orchestrator"
    MONITORING = "monitoring"


class Route(StrEnum):
    """How a question is answered; DESIGN's router decides between these."""

    INFERENCE_ONLY = "inference_only"
    NEEDS_CONTEXT = "needs_context"
    SYNTHESIS = "synthesis"
