"""The soak with few questions, at a real node."""

import pytest

from bench.inference_node import one_node
from bench.soak_inference import AT_ONCE, rows_of, soak

pytestmark = [pytest.mark.model, pytest.mark.processes]

QUESTIONS, WITHIN_S = 24, 120.0


async def test_short_questions_are_answered_and_memory_is_looked_at_all_along(tmp_path):
    async with one_node(tmp_path, slots=AT_ONCE, model_threads=1) as (daemon, _):
        seen = await soak(daemon, QUESTIONS, WITHIN_S)
    failed, *_ = rows_of(seen, QUESTIONS)
    assert (seen.asked, failed.samples) == (QUESTIONS, [0.0]), failed.note
    assert len(seen.questions) == QUESTIONS / 4
    assert min(seen.daemon_mib) > 10
    assert min(seen.workers_mib) > 100
    assert max(seen.daemon_mib) < 2 * min(seen.daemon_mib)  # a leak of every question's whole would double it
