"""Vectors of texts for programs: which embedding models the cluster has, and any number of texts in lots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tarsd import calls
from tarsd.api.allowance import spend
from tarsd.api.replies import ModelUnknown, only_item
from tarsd.api.services import ApiServices
from tarsd.gossip.member import Member

LOT_TEXTS = 256  # what one call takes
LOT_CHARACTERS = 256 * 1024  # some 20 s of a slow PC: within the call's deadline, and its frame's bound


class Vectors(NamedTuple):
    """Vectors in the order of their texts (float32, little-endian, of length 1), and the node that made them.

    `tokens`: of all texts together; 0 where they are not counted.
    """

    vectors: list[bytes]
    dimension: int
    node: str
    tokens: int = 0


def embedding_models(services: ApiServices) -> list[str]:
    """Return the names of the embedding models of the cluster."""
    return sorted({_model_of(member) for member in services.members() if member.routable} - {""})


def has_embedding_model(member: Member, model: str) -> bool:
    """Tell whether `member` makes vectors by `model`."""
    return member.routable and _model_of(member) == model


async def vectors_of(
    services: ApiServices, model: str, texts: Sequence[str], purpose: Literal["query", "passage"] = "passage"
) -> Vectors:
    """Return the vectors of `texts` by `model`, wherever in the cluster it is; raises `ModelUnknown`."""
    known = embedding_models(services)
    if model not in known:
        there = ", ".join(known) or "none"
        raise ModelUnknown(f"model: no embedding model {model!r} is in the cluster right now; there is {there}")
    others = frozenset(member.node for member in services.members() if _model_of(member) != model)
    found: list[bytes] = []
    dimension, node, tokens = 0, services.node_name, 0
    for lot in lots(texts):
        call = services.dispatch.call(calls.EMBED, calls.EmbedRequest(lot, purpose), exclude=others)
        item = await only_item(call, "embed")
        found += item.vectors
        dimension = item.dimension
        tokens += item.tokens
        spend(item.tokens)
        node = call.member.name if call.member else node
    return Vectors(found, dimension, node, tokens)


def lots(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in order, as many at once as one call takes; a text is never split."""
    lot: list[str] = []
    characters = 0
    for text in texts:
        if lot and (len(lot) == LOT_TEXTS or characters + len(text) > LOT_CHARACTERS):
            yield lot
            lot, characters = [], 0
        lot.append(text)
        characters += len(text)
    if lot:
        yield lot


def _model_of(member: Member) -> str:
    return str(member.capabilities.get(calls.EMBED.name, {}).get("model", ""))
