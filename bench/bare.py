"""The reference: llama-cpp-python alone in a process, driven as its own documents show (`create_chat_completion`).

`python -m bench.bare MODEL.gguf THREADS CONTEXT` answers a request a line on stdin with a line on stdout. The times are
taken in that process, from the call on: no pipe, no network, no queue is in them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from bench.daemon import environment_of_a_child

START_S = 60.0
ANSWER_S = 120.0


class Generation(msgspec.Struct):
    """One answer: when each piece of its text came, in seconds since asking."""

    times_s: list[float]
    text: str
    model_cpu_s: float = 0.0  # of the process that holds the model
    daemons_cpu_s: float = 0.0

    @property
    def first_token_s(self) -> float:
        """How long the first piece took; endless for an empty answer."""
        return self.times_s[0] if self.times_s else float("inf")

    @property
    def token_s(self) -> float:
        """The time from one piece to the next, on average; endless for fewer than two pieces."""
        if len(self.times_s) < 2:
            return float("inf")
        return (self.times_s[-1] - self.times_s[0]) / (len(self.times_s) - 1)


class Bare:
    """The reference as a child process: `async with Bare(path, threads, context_tokens) as bare`."""

    def __init__(self, model: Path, threads: int, context_tokens: int) -> None:
        self._arguments = (str(model), str(threads), str(context_tokens))
        self.load_s = 0.0  # how long the model took to load, without the interpreter and its imports

    async def __aenter__(self) -> Self:
        self._process: Process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.bare", *self._arguments,
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment_of_a_child(),
        )  # fmt: skip
        self.load_s = float(json.loads(await self._line(START_S))["load_s"])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def generate(self, messages: Sequence[dict[str, str]], max_tokens: int) -> Generation:
        """Return the answer at temperature 0."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"messages": messages, "max_tokens": max_tokens}).encode() + b"\n")
        await self._process.stdin.drain()
        return msgspec.json.decode(await self._line(ANSWER_S), type=Generation)

    async def _line(self, within_s: float) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the bare llama-cpp-python ended")
        return line


def _answer(llama: Any, asked: dict[str, Any]) -> Generation:
    times: list[float] = []
    text: list[str] = []
    began, cpu_before = time.perf_counter(), time.process_time()
    for chunk in llama.create_chat_completion(
        asked["messages"], max_tokens=asked["max_tokens"], temperature=0.0, stream=True
    ):
        piece = chunk["choices"][0]["delta"].get("content")
        if piece:
            times.append(time.perf_counter() - began)
            text.append(piece)
    return Generation(times, "".join(text), time.process_time() - cpu_before)


def main() -> None:
    """Load the model, say so, and answer until stdin ends."""
    import llama_cpp

    model, threads, context_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    began = time.perf_counter()
    llama = llama_cpp.Llama(
        model, n_ctx=context_tokens, n_threads=threads, n_threads_batch=threads, n_gpu_layers=0, verbose=False
    )
    print(json.dumps({"ready": True, "load_s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        print(msgspec.json.encode(_answer(llama, json.loads(line))).decode(), flush=True)


if __name__ == "__main__":
    main()
