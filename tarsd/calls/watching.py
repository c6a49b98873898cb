"""Watching a node, and its nightly work."""

from __future__ import annotations

from typing import Any

import msgspec

from tarsd.calls.spec import CallSpec
from tarsd.names import Capability, NodeId, NodeName


class StatusRequest(msgspec.Struct, frozen=True):
    """Ask a node how it is."""


class StatusItem(msgspec.Struct, frozen=True):
    """A node's own account of itself; `parts` has one entry per part of the daemon, as plain data."""

    node: NodeId
    name: NodeName
    version: str
    roles: list[str]
    uptime_s: float
    healthy: bool
    problems: list[str]
    parts: dict[str, Any]


class NightlyRequest(msgspec.Struct, frozen=True):
    """Run this node's nightly jobs, all or the named ones; `only_due` leaves out what ran since the last night."""

    jobs: list[str] = []
    only_due: bool = False


class NightlyItem(msgspec.Struct, frozen=True):
    """How one nightly job went."""

    job: str
    ok: bool
    changed: int
    detail: str
    seconds: float


STATUS = CallSpec(Capability("status"), StatusRequest, StatusItem, deadline_s=5)
NIGHTLY = CallSpec(Capability("nightly"), NightlyRequest, NightlyItem, deadline_s=3600)
