"""The judge of the fault tests: each rule is broken once, by a record made for it."""

from __future__ import annotations

import pytest

from bench.faults import scripted
from bench.faults.checker import Away, Verdict, judge
from bench.faults.record import Ask, Question, Recorder, read

EXPECTED = "".join(scripted.pieces_of("k", 6))


def token(text):
    return {"type": "token", "text": text}


def done(**more):
    return {"type": "done", "finish_reason": "stop", "degraded": []} | more


HANDOVER = {"type": "notice", "code": "handover", "text": "pc3 goes on with the answer."}
ERROR = {"type": "error", "name": "PeerLost", "sentence": "The answer was cut off: pc2 is gone."}


def question(*events, expected=EXPECTED, every_s=0.1, **more) -> Question:
    timed = [(10 + every_s * (n + 1), event) for n, event in enumerate(events)]
    made = Question(number=1, node="pc1", ask=Ask(text="q", expected=expected), asked_at=10, events=timed)
    made.ended_at = timed[-1][0] if timed else 10
    for name, value in more.items():
        setattr(made, name, value)
    return made


def verdict(*questions, **options) -> Verdict:
    return judge(questions, **{"within_s": 5.0, "gap_s": 2.5} | options)


def rules(*questions, **options) -> list[str]:
    return [one.rule for one in verdict(*questions, **options).violations]


def test_a_whole_answer_is_whole():
    found = verdict(question(token(EXPECTED[:9]), token(EXPECTED[9:]), done()))
    assert (found.whole, found.flagged, found.violations) == (1, 0, [])


@pytest.mark.parametrize(
    "events",
    [
        [token(EXPECTED)],
        [token(EXPECTED), done(), done()],
        [token(EXPECTED), done(), token("!")],
        [token(EXPECTED), done(), ERROR],
    ],
    ids=["never", "twice", "text after it", "both ways"],
)
def test_an_answer_ends_exactly_once(events):
    assert rules(question(*events)) == ["ended"]


@pytest.mark.parametrize("node", ["pc1", "pc2"])
def test_a_lost_connection_is_excused_by_the_end_of_the_node_that_was_asked_only(node):
    lost = question(token("a"), lost="ClientError", ended_at=11)
    found = verdict(lost, away=[Away(node, 10.5, 12)])
    assert [one.rule for one in found.violations] == ([] if node == "pc1" else ["lost"])
    assert found.excused == (node == "pc1")


def test_a_node_that_was_away_at_another_time_excuses_nothing():
    lost = question(token("a"), lost="ClientError", ended_at=11)
    assert rules(lost, away=[Away("pc1", 2, 4), Away("pc1", 12, 14)]) == ["lost"]


@pytest.mark.parametrize(
    "shown",
    [EXPECTED[:-1], EXPECTED[:20] + EXPECTED[19:], EXPECTED[:20] + EXPECTED[21:], EXPECTED + " ", ""],
    ids=["cut", "doubled", "missing", "too long", "empty"],
)
def test_a_finished_answer_has_exactly_the_expected_characters(shown):
    found = verdict(question(token(shown), done()))
    assert [one.rule for one in found.violations] == ["whole"]
    assert found.whole == 0


def test_an_answer_of_unknown_text_is_not_empty():
    assert rules(question(done(), expected="")) == ["whole"]
    assert rules(question(token("x"), done(), expected="")) == []


def test_passages_instead_of_an_answer_say_what_is_missing():
    assert rules(question(token("x"), done(finish_reason="passages"))) == ["flagged"]
    found = verdict(question(token("x"), done(finish_reason="passages", degraded=["no model"])))
    assert (found.whole, found.flagged, found.violations) == (0, 1, [])


def test_an_error_has_a_sentence():
    assert rules(question(ERROR | {"sentence": ""})) == ["flagged"]
    assert verdict(question(ERROR)).flagged == 1


def test_what_was_shown_before_an_error_was_right():
    assert rules(question(token(EXPECTED[:10]), ERROR)) == []
    assert rules(question(token(EXPECTED[:10] + EXPECTED[8:12]), ERROR)) == ["right"]


REFERENCE = "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve."


@pytest.mark.parametrize(
    ("resumed", "told"),
    [(20, []), (14, ["6 characters doubled"]), (25, ["5 characters missing"])],
    ids=["exact", "doubled", "missing"],
)
@pytest.mark.parametrize("notice_first", [True, False])
def test_a_seam_is_measured_by_the_undisturbed_answer(resumed, told, notice_first):
    new = [token(REFERENCE[resumed : resumed + 3]), HANDOVER]
    parts = [token(REFERENCE[:15]), token(REFERENCE[15:20]), *(new[::-1] if notice_first else new)]
    broken = question(*parts, token(REFERENCE[resumed + 3 :]), done(), expected="")
    found = verdict(broken, reference={"q": REFERENCE})
    assert [(one.rule, one.detail.partition(" before")[0]) for one in found.violations] == [("seam", t) for t in told]


def test_a_model_that_goes_on_in_other_words_breaks_no_seam():
    other = question(token(REFERENCE[:20]), token(" and so on for ever"), HANDOVER, done(), expected="")
    found = verdict(other, reference={"q": REFERENCE})
    assert (found.violations, found.handed_over) == ([], 1)


def test_an_answer_and_its_gaps_have_a_bound():
    slow = question(token(EXPECTED), done(), every_s=3)
    assert rules(slow) == ["late"]
    gap = question(token(EXPECTED[:5]), token(EXPECTED[5:]), done())
    gap.events[1] = (gap.events[0][0] + 2.6, gap.events[1][1])
    assert rules(gap) == ["late"]


def test_a_frozen_host_may_keep_its_own_reader_waiting_but_not_another():
    slow = question(token(EXPECTED), done(), every_s=3)
    assert rules(slow, away=[Away("pc1", 11, 15)]) == []
    assert rules(slow, away=[Away("pc2", 11, 15)]) == ["late"]


def test_a_written_record_reads_back_the_same(tmp_path):
    recorder = Recorder()
    recorder.questions = [question(token(EXPECTED), done()), question(ERROR, lost="x")]
    recorder.write(tmp_path / "record.jsonl")
    assert read(tmp_path / "record.jsonl") == recorder.questions
