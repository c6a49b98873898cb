from bench.samples import SAMPLE_S, Sample
from bench.stress import Run
from bench.stress_verdict import Event, Record, longest_life, rows_of


def sample(at_s, rss_mib=60.0, node="pc1"):
    return Sample(
        at_s=at_s, node=node, rss_mib=rss_mib, workers_rss_mib=0, open_files=20, threads=4, processes=2, disk_mib=1.0
    )


def question(at_s=1.0, **more):
    return Event(at_s=at_s, kind="question", node="pc1", first_token_s=0.5, total_s=1.0, **more)


def rows(events=(), samples=()):
    record = Record(seconds=7200, events=list(events), samples=list(samples))
    return {row.figure: row for row in rows_of(record)}


def steady(slope_per_hour, seconds=7200):
    count = int(seconds / SAMPLE_S)
    return [sample(n * SAMPLE_S, 60 + slope_per_hour * n * SAMPLE_S / 3600) for n in range(count)]


def test_a_run_without_errors_and_with_flat_memory_passes():
    found = rows([question()], steady(0.0))
    assert found["questions and ingests failed"].verdict == "met"
    assert found["pc1: memory growth"].verdict == "met"
    assert found["pc1: memory growth"].note.startswith("stable")


def test_one_failure_is_one_too_many_and_its_reason_is_told():
    found = rows([question(), question(ok=False, detail="the queue is full")])
    assert found["questions and ingests failed"].verdict == "missed"
    assert "1 x the queue is full" in found["questions and ingests failed"].note


def test_degraded_and_cut_answers_are_told_and_no_failures():
    found = rows([question(degraded=True), question(cut=True)])
    assert found["questions and ingests failed"].verdict == "met"
    assert found["questions asked"].note == "1 degraded, 1 cut off by a fault"


def test_a_leak_is_missed_and_a_short_run_undecided():
    assert rows([question()], steady(5.0))["pc1: memory growth"].verdict == "missed"
    short = rows([question()], steady(5.0, seconds=120))["pc1: memory growth"]
    assert short.verdict == "no aim"
    assert short.note.startswith("undecided")


def test_a_restart_begins_a_new_series():
    before = [sample(n * SAMPLE_S) for n in range(10)]
    after = [sample(100 + n * SAMPLE_S) for n in range(30)]
    assert longest_life(before + after) == after
    assert longest_life([]) == []


def test_slow_healing_is_missed():
    assert rows([Event(at_s=1, kind="healed", node="pc2", total_s=9.0)])["healed after a fault"].verdict == "missed"


async def test_only_what_a_fault_touched_is_excused():
    run = Run({}, None, seed=1)
    async with run.fault("kill", "pc2"):
        assert run.excused(0.0, "pc2")
        assert run.excused(0.0)
        assert not run.excused(0.0, "pc1")
        assert run.usable() == []
    ended = run.was_away[0][2]
    assert run.excused(ended, "pc2")
    assert not run.excused(ended + 0.01, "pc2")
    assert not run.excused(ended + 0.01)
