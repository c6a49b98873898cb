"""What people say crosses a LAN sealed: every byte of every frame of a bridge is searched for words that were said.

They are said in chat, folded into a conversation's summary, kept as a memory, copied to all nodes, recalled at another
one and forgotten. Words in clear, written in every way that is looked for, show that they would have been found.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import socket
import string
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from lan_ears import LanEars

from bench.cluster import Cluster, Plan, form
from bench.lan import Lan, inside, put_on, why_not
from tests.processes.real_nodes import tracebacks, until
from tests.processes.traces import spellings

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

SHORT = """\
[cognitive]
max_tokens = 16
[[cognitive.engines]]
kind = "llama_cpp"
threads = 1
context_tokens = 1280
[processing]
threads = 1
"""
PLANS = (Plan("pc1", ("cognitive",), settings=SHORT), Plan("pc2", ("processing", "orchestrator"), settings=SHORT))
PORT = 9  # discard: nobody listens there


def new_word() -> str:
    """Return a word that nobody has ever written, that looks like a name, and that JSON may escape."""
    return "Q" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(12)) + "ñ" + secrets.token_hex(2)


class Said:
    """What was said, what came of it, and what was heard meanwhile."""

    def __init__(self, nodes: Cluster, ears: LanEars) -> None:
        self.nodes, self.ears = nodes, ears
        self.told, self.kept, self.plain = new_word(), new_word(), new_word()
        self.texts: dict[str, str] = {}  # what each step of the way showed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def said(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Said, None]:
    if reason := why_not():
        pytest.skip(reason)
    plans = [*PLANS, Plan("pc3")]
    with Lan(len(plans)) as lan:
        async with AsyncExitStack() as stack:
            nodes = await put_on(lan, plans, tmp_path_factory.mktemp("canary"), stack)
            with LanEars(lan) as ears:
                found = Said(nodes, ears)
                await form(nodes.daemons)
                await nodes.wait_full()
                await nodes.wait_capability("pc3", "chat", of="pc1")
                await _live(found)
                await asyncio.gather(*(daemon.stop() for daemon in nodes.daemons))
                _say_plainly(lan, found.plain)
            yield found


async def _live(said: Said) -> None:
    """Let the words go the whole way."""
    said.texts["kept"] = await _ask(said, "pc3", f"Remember that the code word of the garage is {said.kept}")
    for number in (1, 2):
        await _ask(said, "pc3", f"My neighbour {said.told} has {number} dogs.", conversation="talk")
    said.texts["copies"] = await _shown(said, "/api/memories", said.kept)
    said.texts["summary"] = await _shown(said, "/api/conversations", said.told)
    said.texts["recalled"] = await _ask(said, "pc2", "What is the code word of the garage?", until="memories")
    said.texts["forgotten"] = await _ask(said, "pc2", "Forget the code word of the garage")
    said.texts["conversation"] = await _ask(said, "pc3", "Forget this conversation", conversation="talk")

    async def gone() -> bool:
        paths = ("/api/memories", "/api/conversations")
        left = [str(await client.get(path)) for client in said.nodes.clients.values() for path in paths]
        return not any(word in text for word in (said.kept, said.told) for text in left)

    await until(gone, 30, "all nodes have forgotten both")


async def _ask(said: Said, node: str, text: str, *, until: str = "", **more: Any) -> str:
    """Ask over the chat and return all events as one text, as far as the first one of a type where one is named."""
    client = said.nodes.clients[node]
    heard = ""
    async with asyncio.timeout(90), client.session.ws_connect(f"{client.url}/ws") as chat:
        await chat.send_json({"type": "ask", "text": text} | more)
        while True:
            event = await chat.receive_json()
            heard += f"{event}\n"
            if event["type"] in ("done", "error", until):
                return heard


async def _shown(said: Said, path: str, word: str) -> str:
    """Wait until every node shows a word, and return what the last one shows."""

    async def all_show() -> str:
        found = [str(await client.get(path)) for client in said.nodes.clients.values()]
        return found[-1] if all(word in text for text in found) else ""

    shown = await until(all_show, 60, f"every node shows it at {path}")
    assert isinstance(shown, str)
    return shown


def _say_plainly(lan: Lan, word: str) -> None:
    """Send a word from a PC to another one in every way in which it might be written, each in a datagram."""
    written = [
        word.encode(),
        word.encode("utf-16-le"),
        word.encode("utf-16-be"),
        word.encode("utf-32-le"),
        word.encode().hex().encode(),
        *(base64.b64encode(b"x" * before + word.encode() + b"after it") for before in range(3)),
        json.dumps({"word": word}).encode(),
        msgspec.msgpack.encode({"word": word}),
    ]
    with inside(lan.namespace(1)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        for each in written:
            mouth.sendto(b"before it " + each + b" and after it", ("10.77.0.2", PORT))


async def test_the_words_went_the_whole_way(said):
    for step, word in (("kept", said.kept), ("copies", said.kept), ("summary", said.told), ("recalled", said.kept)):
        assert word in said.texts[step], step
    assert "memory/" in said.texts["forgotten"]
    assert tracebacks(said.nodes) == {}


async def test_every_frame_was_heard(said):
    assert said.ears.missed == 0
    assert said.ears.ports == {"port1", "port2", "port3"}
    assert said.ears.size_bytes > 100_000
    print(f"{len(said.ears.frames)} frames, {said.ears.size_bytes} bytes")


async def test_no_frame_has_a_word_that_was_said(said):
    assert said.ears.traces(said.told) == set()
    assert said.ears.traces(said.kept) == set()


async def test_a_word_in_clear_would_have_been_found_however_it_is_written(said):
    assert said.ears.traces(said.plain) == set(spellings(said.plain))
