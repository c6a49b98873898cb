"""What is said at one PC is remembered at the other, between real daemons; no model is needed for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from tests.processes.real_nodes import answer_of, tracebacks, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    async with cluster([Plan("pc1", ()), Plan("pc2", ())]) as running:
        await running.wait_capability("pc2", "save", of="pc1")
        await running.wait_capability("pc1", "save", of="pc2")
        yield running


async def answered_at(nodes: Cluster, name: str, question: str) -> str:
    text: str = (await answer_of(nodes[name], question))["text"]
    return text


async def test_what_is_said_at_one_pc_is_known_at_the_other(nodes):
    told = await answered_at(nodes, "pc1", "recuerda que la llave está bajo la maceta")
    assert told == "Lo recordaré: «La llave está bajo la maceta»"

    async def known() -> bool:
        return "La llave está bajo la maceta" in await answered_at(nodes, "pc2", "¿dónde está la llave?")

    assert await until(known, 60, "pc2 knows what was said at pc1")
    assert "maceta" not in await answered_at(nodes, "pc2", "¿cuánto cuesta el tren a Sevilla?")


async def test_a_later_word_at_the_other_pc_takes_its_place(nodes):
    await answered_at(nodes, "pc1", "recuerda que la contraseña del wifi es perro42")

    async def replaced() -> bool:
        return "Sustituye a: «La contraseña del wifi es perro42»" in await answered_at(
            nodes, "pc2", "recuerda que la contraseña del wifi es gato43"
        )

    async def known() -> bool:
        return "perro42" in await answered_at(nodes, "pc2", "¿cuál es la contraseña del wifi?")

    await until(known, 60, "pc2 knows the first password")
    assert await replaced()

    async def changed() -> bool:
        told = await answered_at(nodes, "pc1", "¿cuál es la contraseña del wifi?")
        return "gato43" in told and "perro42" not in told

    await until(changed, 60, "pc1 knows the new password alone")


async def test_no_text_of_a_person_is_in_a_log(nodes):
    assert tracebacks(nodes) == {}
    for daemon in nodes.daemons:
        log = daemon.log.read_text(encoding="utf-8")
        assert not any(word in log for word in ("maceta", "perro42", "gato43"))
