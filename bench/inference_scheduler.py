"""What our own scheduler costs in a step beside llama.cpp's decoding and sampling, as the worker itself counts it."""

from __future__ import annotations

from bench.harness import Context, Row
from bench.inference_node import NotAvailableError


async def rows(context: Context) -> list[Row]:
    """Raise: no engine tells the times of its steps yet."""
    raise NotAvailableError("no engine tells the times of its steps")
