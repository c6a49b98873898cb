"""The models of the whole cluster: each node is asked for its own, what it does not tell is taken from its adverts.

Rules
1. A node that offers `models` is asked; one that does not, or does not answer in time, is known by its `chat` advert.
2. A model that several nodes have is one model: what a node that has it loaded says goes before what others say. One
   that knows only its name takes from the others what the file is.
3. Models that vectors are made with are known by the `embed` adverts only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tarsd import calls, errors
from tarsd.api.replies import only_item
from tarsd.api.services import ApiServices
from tarsd.gossip.member import Member
from tarsd.names import NodeId

ASK_S = 3.0

_ORDER = ("loaded", "loading", "present", "pulling", "failed", "absent")  # whose account of a model goes first
_OF_THE_FILE = (
    "size_bytes",
    "sha256",
    "architecture",
    "parameters",
    "quantization",
    "modified_at",
    "template",
    "can_use_tools",
)


@dataclass(frozen=True)
class Found:
    """A model of the cluster and who has it: `nodes` by name, `loaded_at` those that have it in memory."""

    model: calls.Model
    nodes: tuple[str, ...] = ()
    loaded_at: tuple[NodeId, ...] = ()
    embeds: bool = False


async def found_models(services: ApiServices) -> dict[str, Found]:
    """Return the models of all members that take work, by name; those that chat first."""
    able = [member for member in services.members() if member.routable]
    told = await asyncio.gather(*(_models_of(services, member) for member in able))
    found: dict[str, Found] = {}
    for member, models in zip(able, told, strict=True):
        for model in models:
            found[model.name] = joined(found.get(model.name), member, model)
    for member in able:
        name = member.capabilities.get(calls.EMBED.name, {}).get("model")
        if isinstance(name, str) and name and (name not in found or found[name].embeds):
            before = found.get(name, Found(calls.Model(name, "loaded"), embeds=True))
            found[name] = Found(before.model, (*before.nodes, member.name), (*before.loaded_at, member.node), True)
    return found


def joined(known: Found | None, member: Member, model: calls.Model) -> Found:
    """Return what is known of a model with what `member` says of it (rule 2)."""
    loaded_at = (member.node,) if model.state == "loaded" else ()
    if known is None:
        return Found(model, (member.name,), loaded_at)
    first, other = sorted((known.model, model), key=lambda each: _ORDER.index(each.state))
    if not first.size_bytes:
        first = msgspec.structs.replace(first, **{name: getattr(other, name) for name in _OF_THE_FILE})
    return Found(first, (*known.nodes, member.name), known.loaded_at + loaded_at)


async def _models_of(services: ApiServices, member: Member) -> Iterable[calls.Model]:
    advertised = from_advert(member)
    if calls.MODELS.name not in member.capabilities:
        return advertised
    call = services.dispatch.call(calls.MODELS, calls.ModelsRequest(), deadline_s=ASK_S, only=member.node)
    try:
        item = await only_item(call, "models")
    except errors.TarsdError:
        return advertised
    told = {model.name for model in item.models}
    return [*item.models, *(model for model in advertised if model.name not in told)]


def from_advert(member: Member) -> list[calls.Model]:
    """Return the models that a node's `chat` advert names, its own one first."""
    attributes = member.capabilities.get(calls.CHAT.name, {})
    own, context, on_demand = (attributes.get(name) for name in ("model", "context_tokens", "models"))
    found: list[calls.Model] = []
    if isinstance(own, str) and own:
        tokens = context if isinstance(context, int) else 0
        found.append(calls.Model(own, "loaded", engine=str(attributes.get("engine", "")), context_tokens=tokens))
    if isinstance(on_demand, list):
        found += [calls.Model(name, "present") for name in on_demand if name != own]
    return found
