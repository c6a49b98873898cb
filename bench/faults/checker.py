"""Judges the record of a run: pure, so that a written record can be judged again.

Rules, each broken one a violation with its question
1. `ended`: an answer ends exactly once, and nothing follows its end.
2. `lost`: a reader loses its connection only when the node that it asked was killed or frozen meanwhile.
3. `whole`: a finished answer has exactly the characters of the expected one. Without an expected text it has some, and
   no hand-over in it doubles or drops any (rule 6).
4. `flagged`: an answer that is not whole says so: passages shown in place of an answer name what is missing, an error
   has a sentence.
5. `right`: what was shown before an error is how the expected answer begins.
6. `seam`: at a hand-over the new text begins where the old one ended. The model's own words of an undisturbed answer
   are the ruler (`reference`); a continuation found at another place of it has doubled or dropped the difference.
7. `late`: no answer takes longer than `within_s`, and no silence in the middle of a text is longer than `gap_s`. The
   reader of a node that was killed or frozen itself waits for as long as that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bench.faults.record import ENDS, Question

_LATE_END_S = 0.5  # a connection that breaks shortly after the fault's end broke because of it
_SEAM_LOOK = 40  # how far off a continuation is looked for
_SEAM_PART = 12  # how many characters of it must agree


class Away(msgspec.Struct, frozen=True):
    """A node that was killed or frozen, and from when to when."""

    node: str
    from_s: float
    to_s: float


class Violation(msgspec.Struct, frozen=True):
    """A broken rule, with its question and what was seen."""

    rule: str
    number: int
    detail: str

    def __str__(self) -> str:
        return f"question {self.number}: {self.rule}: {self.detail}"


class Verdict(msgspec.Struct, kw_only=True):
    """What a run was like. `flagged` were not whole and said so, `excused` lost their own host."""

    questions: int
    whole: int
    flagged: int
    excused: int
    handed_over: int
    worst_total_s: float
    worst_gap_s: float
    violations: list[Violation]

    def __str__(self) -> str:
        head = (
            f"{self.questions} questions: {self.whole} whole ({self.handed_over} handed over), {self.flagged} flagged, "
            f"{self.excused} lost with their host, {len(self.violations)} violations; "
            f"worst wait {self.worst_total_s:.2f} s, worst gap {self.worst_gap_s:.2f} s"
        )
        return "\n".join([head, *map(str, self.violations)])


def judge(
    questions: Sequence[Question],
    *,
    within_s: float,
    gap_s: float,
    away: Sequence[Away] = (),
    reference: Mapping[str, str] | None = None,
) -> Verdict:
    """Return the verdict; `reference` maps a question's text to its undisturbed answer."""
    violations: list[Violation] = []
    whole = flagged = excused = handed_over = 0
    for question in questions:
        broken = _broken(question, (reference or {}).get(question.ask.text, ""))
        if not _was_away(question, away):
            broken += _late(question, within_s, gap_s)
        elif question.lost:
            excused += 1
            broken = []
        violations += [Violation(rule, question.number, detail) for rule, detail in broken]
        is_whole = question.end["type"] == "done" and not _instead(question) and not broken
        whole += is_whole
        handed_over += is_whole and bool(_seams(question))
        flagged += not is_whole and not broken and not question.lost
    return Verdict(
        questions=len(questions),
        whole=whole,
        flagged=flagged,
        excused=excused,
        handed_over=handed_over,
        worst_total_s=round(max((q.total_s for q in questions if not q.lost), default=0.0), 3),
        worst_gap_s=round(max((q.longest_gap_s for q in questions if not q.lost), default=0.0), 3),
        violations=violations,
    )


def _broken(question: Question, reference: str) -> list[tuple[str, str]]:
    if question.lost:
        return [("lost", question.lost)]
    ends = [at for at, (_, event) in enumerate(question.events) if event["type"] in ENDS]
    if len(ends) != 1 or ends[0] != len(question.events) - 1:
        return [("ended", f"ends {[question.events[at][1]['type'] for at in ends]} of {len(question.events)} events")]
    end, shown, expected = question.end, question.text, question.ask.expected
    if end["type"] != "done":
        broken = [] if end.get("sentence") else [("flagged", f"an end without a sentence: {end}")]
        if expected and not expected.startswith(shown):
            broken.append(("right", _difference(expected, shown)))
        return broken
    if _instead(question):
        return [] if end.get("degraded") else [("flagged", "passages in place of an answer, and nothing says so")]
    if expected:
        return [] if shown == expected else [("whole", _difference(expected, shown))]
    if not shown.strip():
        return [("whole", "an empty answer")]
    return [("seam", detail) for at in _seams(question) if (detail := _seam(reference, shown, at))]


def _instead(question: Question) -> bool:
    return bool(question.end.get("finish_reason") == "passages")


def _late(question: Question, within_s: float, gap_s: float) -> list[tuple[str, str]]:
    late = []
    if question.total_s > within_s:
        late.append(("late", f"{question.total_s:.2f} s until {question.end['type'] or 'the loss'}"))
    if question.longest_gap_s > gap_s:
        late.append(("late", f"{question.longest_gap_s:.2f} s of silence in the text"))
    return late


def _was_away(question: Question, away: Sequence[Away]) -> bool:
    return any(
        one.node == question.node and one.from_s <= question.ended_at and one.to_s + _LATE_END_S >= question.asked_at
        for one in away
    )


def _seams(question: Question) -> list[int]:
    """Return after how many characters another node may have gone on: its notice is before or after its first piece."""
    shown, last, seams = 0, 0, []
    for _, event in question.events:
        if event["type"] == "token":
            shown, last = shown + len(event["text"]), shown
        elif event["type"] == "notice" and _is_handover(event):
            seams += [last, shown]
    return sorted({at for at in seams if at > 0})


def _is_handover(event: dict[str, object]) -> bool:
    return event.get("code") == "handover" or "goes on with the answer" in str(event.get("text"))


def _seam(reference: str, shown: str, at: int) -> str:
    """Return what is wrong where the text was taken up at `at`; "" = nothing, or nothing that can be told."""
    if reference == shown or not reference.startswith(shown[:at]):
        return ""
    new = shown[at : at + _SEAM_PART]
    if len(new) < _SEAM_PART or reference.startswith(new, at):
        return ""
    for off in sorted(range(-_SEAM_LOOK, _SEAM_LOOK + 1), key=abs):
        if at + off >= 0 and reference.startswith(new, at + off):
            return f"{abs(off)} characters {'doubled' if off < 0 else 'missing'} before {new!r}"
    return ""


def _difference(expected: str, shown: str) -> str:
    """Say where two texts part."""
    at = next((n for n, (one, other) in enumerate(zip(expected, shown, strict=False)) if one != other), None)
    at = min(len(expected), len(shown)) if at is None else at
    return (
        f"{len(shown)} characters for {len(expected)}; they part at {at}: "
        f"expected {expected[max(0, at - 12) : at + 12]!r}, got {shown[max(0, at - 12) : at + 12]!r}"
    )
