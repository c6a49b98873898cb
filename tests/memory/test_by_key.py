"""Reading what stands under keys."""

from __future__ import annotations

from tarsd.memory.bodies import MemoryBody
from tarsd.wire import decode


async def remember(store, *names: str) -> None:
    await store.append_many([("memory", "", MemoryBody(name, f"text of {name}")) for name in names])


async def test_the_newest_record_of_a_key_is_read_and_unknown_keys_are_left_out(store):
    await remember(store, "a")
    await store.append("memory", "", MemoryBody("a", "another text"))
    found = await store.at(["memory/a", "memory/b"])
    assert list(found) == ["memory/a"]
    assert decode(found["memory/a"][1], MemoryBody).text == "another text"


async def test_what_lies_below_a_key_comes_in_order_page_by_page_and_nothing_beside_it(store):
    await remember(store, "c", "a", "b")
    await store.append("memory-like", "memory-like/x", b"\x80")
    first = await store.below("memory", "", 2)
    assert [key for key, _, _ in first] == ["memory/a", "memory/b"]
    rest = await store.below("memory", first[-1][0], 2)
    assert [key for key, _, _ in rest] == ["memory/c"]


async def test_a_forgotten_key_is_known_as_such_also_below_what_was_forgotten(store):
    await remember(store, "a", "b")
    await store.forget("memory/a")
    assert await store.forgotten(["memory/a", "memory/a/1", "memory/b", "memory/ab"]) == {"memory/a", "memory/a/1"}
