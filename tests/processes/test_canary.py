"""What people say is nowhere but in RAM: three real nodes with models are told a word, then everything is searched.

Searched are all files of the nodes, what else was written meanwhile in the places where programs leave files, and what
crossed the network between the nodes. People's own line to their node is left out: it is theirs, on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import resource
import secrets
import string
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from bench.client import Client
from bench.cluster import Cluster, Plan, form
from bench.daemon import LOOPBACK, Daemon
from tests.processes.peer_calls import Caller, caller_into
from tests.processes.real_nodes import ONE_THREAD, tracebacks, tree_of
from tests.processes.test_conversations_go_on import HOLDERS, ask, holder_of, recalled
from tests.processes.traces import Eavesdropper, files_below, spellings, traces_in, traces_in_files

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

SETTINGS = "[memory]\nautomatic = false\n"
ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm", "/var/crash", "/var/lib/systemd/coredump", "/var/log")
MDNS = 5353


def new_word() -> str:
    """Return a word that nobody has ever written, and that looks like a name, so that summaries keep it."""
    return "Q" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(15))


class Told:
    """The nodes, the words that they were told, and what was heard of them meanwhile."""

    def __init__(self, nodes: Cluster, ears: Eavesdropper | None, deaf: str) -> None:
        self.nodes = nodes
        self.ears = ears
        self.deaf = deaf
        self.kept, self.temporary, self.plain = new_word(), new_word(), new_word()
        self.began = time.time()
        self.summary = ""
        self.core_limits: set[tuple[int, int]] = set()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Told, None]:
    """Three nodes that were talked with, and were stopped."""
    folder = tmp_path_factory.mktemp("canary")
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # as on a PC where core dumps are switched on
    plans = [
        Plan("host", ("orchestrator", "processing"), settings=SETTINGS + "[processing]\nthreads = 1\n"),
        *(Plan(name, ("cognitive",), settings=SETTINGS + ONE_THREAD) for name in HOLDERS),
    ]
    daemons = [Daemon(plan, folder / plan.name) for plan in plans]
    ears, deaf = None, ""
    try:
        ears = Eavesdropper([MDNS, *(port for daemon in daemons for port in (daemon.port, daemon.join_port))])
    except (PermissionError, AttributeError, OSError) as error:
        deaf = f"the network cannot be captured here: {error}"
    try:
        clients = {daemon.name: await Client(daemon.url).__aenter__() for daemon in daemons}
        nodes = Cluster(daemons, clients, folder)
        found = Told(nodes, ears, deaf)
        await form(daemons)
        await nodes.wait_full()
        for name in HOLDERS:
            await nodes.wait_capability("host", "chat", of=name)
        async with caller_into(nodes) as caller:
            await _talk(found, caller)
        found.core_limits = {p.rlimit(psutil.RLIMIT_CORE) for daemon in daemons for p in tree_of(daemon)}
        if ears is not None:
            await _say_plainly(found, ears)
        for client in clients.values():
            await client.__aexit__(None, None, None)
        await asyncio.gather(*(daemon.stop() for daemon in daemons))
        yield found
    finally:
        await asyncio.gather(*(daemon.stop() for daemon in daemons))
        if ears is not None:
            ears.stop()
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


async def _talk(told: Told, caller: Caller) -> None:
    for number in range(1, 4):
        await ask(told.nodes, "talk", f"My neighbour {told.kept} has {number} dogs. Say hello to {told.kept}.")
        holder = await holder_of(caller, "talk", number)
    told.summary = (await recalled(caller, holder, "talk")).summary
    await ask(told.nodes, "passing", f"My cousin {told.temporary} is ill. Say hello.", temporary=True)


async def _say_plainly(told: Told, ears: Eavesdropper) -> None:
    """Send a word in clear text over a connection that is listened to."""
    heard = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(told.plain))
        heard.set()
        writer.close()

    server = await asyncio.start_server(take, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    ears.ports.add(port)
    _, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(told.plain[:7].encode())
    await writer.drain()
    writer.write(told.plain[7:].encode())  # over two packets
    await asyncio.wait_for(heard.wait(), 30)
    writer.close()
    server.close()


async def test_the_word_was_said_and_is_remembered_while_the_nodes_run(told):
    assert told.kept in told.summary
    assert told.temporary not in told.summary
    assert tracebacks(told.nodes) == {}


async def test_no_file_of_any_node_has_it(told):
    paths = list(files_below([told.nodes.folder]))
    assert {path.name for path in paths} >= {"memory.db", "stderr.log", "tarsd.toml"}
    for word in (told.kept, told.temporary):
        assert traces_in_files(paths, word) == {}


async def test_no_other_file_that_was_written_meanwhile_has_it(told):
    own = told.nodes.folder
    folders = [Path(each) for each in (*ELSEWHERE, tempfile.gettempdir())]
    paths = {path for path in files_below(folders, told.began) if own not in path.parents}
    paths |= {path for path in Path.cwd().glob("core*") if path.is_file()}
    for word in (told.kept, told.temporary):
        assert traces_in_files(paths, word) == {}


async def test_no_process_of_a_node_may_leave_a_core_dump(told):
    assert told.core_limits == {(0, 0)}


async def test_what_crossed_between_the_nodes_does_not_show_it(told):
    if told.ears is None:
        pytest.skip(told.deaf)
    assert all(told.ears.bytes_of(daemon.port) > 10_000 for daemon in told.nodes.daemons)
    for word in (told.kept, told.temporary):
        assert told.ears.traces(word) == {}


async def test_a_word_in_clear_text_on_the_network_would_have_been_heard(told):
    if told.ears is None:
        pytest.skip(told.deaf)
    assert list(told.ears.traces(told.plain).values()) == [["utf-8"]]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("utf-8", lambda word: f"… {word.upper()} …".encode()),
        ("utf-16-le", lambda word: f"… {word} …".encode("utf-16-le")),
        ("utf-16-be", lambda word: f"… {word} …".encode("utf-16-be")),
        ("utf-32-le", lambda word: f"… {word} …".encode("utf-32-le")),
        ("hex", lambda word: f"xx{word}yy".encode().hex().encode()),
    ],
)
async def test_a_word_in_a_file_would_have_been_found(tmp_path, name, written):
    word = new_word()
    (tmp_path / "left").write_bytes(b"\x00" * 1000 + written(word) + b"\xff" * 1000)
    found = traces_in_files(files_below([tmp_path]), word)
    assert list(found) == [str(tmp_path / "left")]
    assert name in found[str(tmp_path / "left")]  # the bytes of one way to write a word are those of others, shifted


@pytest.mark.parametrize("before", range(4))
async def test_a_word_in_base64_would_have_been_found_wherever_it_begins(before):
    word = new_word()
    assert traces_in(base64.b64encode(b"x" * before + word.encode() + b"after it"), word) == [f"base64 at {before % 3}"]
    assert all(len(trace) >= 12 for trace in spellings(word).values())
