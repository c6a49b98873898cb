"""What goes along when something is forgotten: the keys that are erased, and the summaries that go on without it. Pure.

Rules
1. What a forgotten memory took the place of goes along: it is the history of the same thing.
2. What a forgotten memory was merged into goes along; what contradicted it stays, for it says something else.
3. A memory that was made from what is forgotten (its sources name it) goes along; so does one from that document.
4. A summary that names it as a source, or tells it (`telling`), goes on without the sentences that tell it, and is
   forgotten when none is left, or when nothing else is named as its source.
5. A project takes its summaries and what is remembered for it; a conversation its summaries, and what was learned from
   it by itself. What a person asked to remember stays.
6. By wording only what the person may see is found, so nobody can try out or erase what is another's. Links reach all.
7. What is rewritten is a new body of the same key; every older version of the key is erased.
8. What a node made of it before it heard that it is forgotten goes along when it hears, by links alone (`late`): what
   names it, and what it was written again as, to say that another took its place. Where what it told is not known any
   more, a summary that names it is forgotten.
9. A summary that told it in an older version, and does no more, is written again as it is, for rule 7.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from tarsd.memory.bodies import (
    MemoryBody,
    Source,
    SummaryBody,
    conversation_key,
    document_key,
    key_of,
    project_key,
)
from tarsd.memory.telling import Facts, without

Remembered = MemoryBody | SummaryBody


class Target(msgspec.Struct, frozen=True):
    """What is to be forgotten: a key, or a conversation. Of a document its name and its passages' texts, for rule 4."""

    key: str = ""
    conversation: str = ""
    person: str | None = None  # whose conversation; None = whosever
    file: str = ""
    passages: Sequence[str] = ()


class Closure(msgspec.Struct, frozen=True):
    """`forgotten`: keys to erase for good; `rewritten`: bodies that go on, once older versions of them are erased."""

    forgotten: list[str]
    rewritten: dict[str, SummaryBody]

    @property
    def keys(self) -> list[str]:
        """All keys whose present text is erased."""
        return sorted({*self.forgotten, *self.rewritten})


def closure(
    target: Target,
    remembered: Iterable[Remembered],
    may_see: Callable[[Remembered], bool],
    older: Iterable[SummaryBody] = (),
) -> Closure:
    """Return what goes along with `target`; `remembered` is all that is visible here, history included, and `older`
    are versions of summaries that something was written over: their texts are on the disk still (rule 9)."""
    known = {key_of(body): body for body in remembered}
    gone = _linked(known, _first(target, known))
    told = Facts([known[key].text for key in sorted(gone) if key in known] + list(target.passages))
    summaries = {key: body for key, body in known.items() if isinstance(body, SummaryBody)}
    untold = {key: _untold(body, told) for key, body in summaries.items() if may_see(body) or _leans(body, target)}
    while True:  # a summary that falls takes along what was made from it
        left = {key: body for key, body in summaries.items() if key not in gone}
        rests = {key: _rest(body, untold.get(key, body), told, gone, target) for key, body in left.items()}
        fallen = {key for key, rest in rests.items() if rest is None}
        if not fallen:
            rewritten = {key: rest for key, rest in rests.items() if rest and rest != left[key]}
            told_once = {key_of(body) for body in older if may_see(body) and _untold(body, told) != body}
            return Closure(sorted(gone), {key: left[key] for key in told_once & left.keys()} | rewritten)
        gone = _linked(known, gone | fallen)


def linked(target: Target, remembered: Iterable[Remembered]) -> set[str]:
    """Return the keys that go along with `target` by links alone, and those that such a memory was merged into."""
    known = {key_of(body): body for body in remembered}
    return with_merged(_linked(known, _first(target, known)), known)


def with_merged(keys: Collection[str], known: Mapping[str, Remembered]) -> set[str]:
    """Return keys with those that the memories at them were merged into, known or not."""
    return {*keys, *_merged(known, keys)}


def late(graves: Collection[str], texts: Mapping[str, str], remembered: Iterable[Remembered]) -> Closure:
    """Return what goes along at a node that hears of forgotten keys (rule 8).

    `texts`: what stood there, by key; `remembered`: what is visible here and names one of the keys, or lies at one.
    """
    known = {key_of(body): body for body in remembered}
    goes_on = {key for key in known.keys() & set(graves) if _goes_on(known[key])}
    others = {key: body for key, body in known.items() if key not in goes_on}
    gone = _linked(others, {*graves, *_of_conversations(graves, others)} - goes_on)
    told = Facts(
        [text for key, text in texts.items() if key not in goes_on]
        + [body.text for key, body in sorted(others.items()) if key in gone]
    )
    rewritten: dict[str, SummaryBody] = {}
    for key, body in known.items():
        names = _names(body.sources, gone)
        if (
            key in gone
            or not isinstance(body, SummaryBody)
            or not (names or key in goes_on or _names(body.sources, graves))
        ):
            continue
        rest = _rest(body, _untold(body, told), told, gone, Target()) if told else None if names else body
        if rest is None:
            gone.add(key)
        elif rest != body:
            rewritten[key] = rest
    return Closure(sorted(gone & known.keys()), rewritten)


def _goes_on(body: Remembered) -> bool:
    """Say whether what is visible at a forgotten key was written on purpose: not to say that something replaced it."""
    return isinstance(body, SummaryBody) or not body.replaced_by


def _of_conversations(graves: Collection[str], known: Mapping[str, Remembered]) -> set[str]:
    parts = [key.split("/") for key in graves if key.startswith("conversation/")]
    return {
        key
        for key, body in known.items()
        for _, conversation, *person in parts
        if _is_of_conversation(body, conversation) and (not person or person == [body.person or "-"])
    }


def _first(target: Target, known: Mapping[str, Remembered]) -> set[str]:
    """Return the keys that the target itself names (rule 5)."""
    if target.conversation:
        key = conversation_key(target.conversation, target.person)
        return {key, *_of_conversations([key], known)}
    return {target.key, *(key for key, body in known.items() if _is_of_project(body, target.key))}


def _is_of_conversation(body: Remembered, conversation: str) -> bool:
    if isinstance(body, SummaryBody):
        return body.conversation == conversation or _only(body.sources, lambda s: s.conversation == conversation)
    return body.made_by in ("automatic", "nightly") and any(s.conversation == conversation for s in body.sources)


def _is_of_project(body: Remembered, key: str) -> bool:
    if not body.project or project_key(body.project) != key:
        return False
    return isinstance(body, SummaryBody) or body.scope == "project"


def _linked(known: Mapping[str, Remembered], gone: Collection[str]) -> set[str]:
    """Return `gone` with all that goes along by links (rules 1 to 3)."""
    gone, before = set(gone), 0
    while len(gone) != before:
        before = len(gone)
        gone |= _merged(known, gone) & known.keys()
        gone |= {key for key, body in known.items() if body.replaced_by in gone}
        gone |= {key for key, body in known.items() if isinstance(body, MemoryBody) and _names(body.sources, gone)}
    return gone


def _merged(known: Mapping[str, Remembered], keys: Collection[str]) -> set[str]:
    found = (known[key] for key in keys if key in known)
    return {body.replaced_by for body in found if isinstance(body, MemoryBody) and body.replaced_why == "merged"}


def _names(sources: Iterable[Source], gone: Collection[str]) -> bool:
    return any(_is_gone(source, gone) for source in sources)


def _is_gone(source: Source, gone: Collection[str]) -> bool:
    of_document = bool(source.document) and document_key(source.document) in gone
    return of_document or any(key in gone for key in source.keys)


def _only(sources: Sequence[Source], which: Callable[[Source], bool]) -> bool:
    return bool(sources) and all(which(source) for source in sources)


def _leans(body: SummaryBody, target: Target) -> bool:
    return bool(target.file) and target.file in body.documents


def _untold(body: SummaryBody, told: Facts) -> SummaryBody | None:
    """Return a summary without the sentences that tell it, itself where none does, None where nothing is left."""
    text = without(body.text, told)
    if not text or told.tells(body.title):
        return None
    if text == body.text:
        return body
    left = text.casefold()  # nobody knows of which sentence a date or a tag was
    tags, keywords = ([word for word in of if word.casefold() in left] for of in (body.tags, body.keywords))
    return replace(body, text=text, tags=tags, keywords=keywords, dates=[])


def _rest(
    body: SummaryBody, untold: SummaryBody | None, told: Facts, gone: Collection[str], target: Target
) -> SummaryBody | None:
    """Return what a summary goes on as, itself where it names nothing that is forgotten (rule 4)."""
    if not _names(body.sources, gone) and not _leans(body, target):
        return untold
    untold = _untold(body, told) if untold is body else untold  # a link reaches what may not be seen
    if untold is None or _only(body.sources, lambda source: _has_nothing_else(source, gone)):
        return None
    return replace(
        untold,
        documents=[file for file in body.documents if file != target.file],
        sources=[_trimmed(source, gone) for source in body.sources if not _has_nothing_else(source, gone)],
    )


def _has_nothing_else(source: Source, gone: Collection[str]) -> bool:
    """Say whether a source is forgotten whole."""
    of_document = bool(source.document) and document_key(source.document) in gone
    return of_document or (bool(source.keys) and not source.conversation and all(key in gone for key in source.keys))


def _trimmed(source: Source, gone: Collection[str]) -> Source:
    return replace(source, keys=[key for key in source.keys if key not in gone])
