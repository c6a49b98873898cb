"""Carries out what a person asks of the memory in a chat: remember, forget, tell. No model is needed for it.

Rules
1. `planning.intents` decides what is a wish; the answer is a fixed sentence in the question's language.
2. What is said is kept for whom it concerns: within a project for it, for a named person for that person, and for the
   household where it is said so or nobody is named. What somebody wants to be called by is that person's everywhere.
3. Forgetting looks first: one that is clear is forgotten; several, and one that is not clear, are listed for the person
   to choose; none is said. What took its place in history goes with it.
4. In a temporary chat nothing is written, and the answer says so. Telling writes nothing.
5. That a write has fewer copies than wanted is told, and so is a node that forgets only when it is back.
6. A wish is no part of the conversation's summary: what was to be forgotten would stand in it.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from tarsd import calls
from tarsd.calls import (
    Copies,
    ForgetItem,
    ForgetRequest,
    MemoriesRequest,
    Memory,
    SaveRequest,
)
from tarsd.calls.memories import Scope
from tarsd.dispatch import Dispatch
from tarsd.errors import NotFound, TarsdError
from tarsd.host.events import Question
from tarsd.memory import slots
from tarsd.planning import picking
from tarsd.planning.intents import Forget, Intent, Remember, Tell, recognise, remember_and_ask
from tarsd.planning.texts import texts

log = logging.getLogger(__name__)

LOOKED_AT = 30
TOLD = 20


class Wish(NamedTuple):
    """What is asked of the memory; `numbers`: which of those that were listed; `rest`: what is asked beside it."""

    intent: Intent
    numbers: tuple[int, ...] = ()
    rest: str = ""

    @property
    def told(self) -> str:
        """What is to be remembered, as the answer will tell it."""
        return self.intent.text if isinstance(self.intent, Remember) else ""


class Granted(NamedTuple):
    """The answer to a wish, and what is to be told beside it."""

    text: str
    notices: tuple[str, ...] = ()


def wish_of(question: Question) -> Wish | None:
    """Return what a question asks of the memory, None where it asks something else."""
    if intent := recognise(question.text):
        return Wish(intent)
    if both := remember_and_ask(question.text):
        return Wish(both[0], rest=both[1])
    if numbers := picking.choice(question.text, question.turns):
        before = recognise(question.turns[-1].question)
        if isinstance(before, Forget) and before.what:
            return Wish(before, tuple(numbers))
    return None


class Wishes:
    """Carries out wishes by the calls `save`, `memories` and `forget`."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def grant(self, question: Question, wish: Wish, language: str) -> Granted:
        """Carry a wish out and return the answer; what fails is said in it."""
        words = texts(language)
        if question.temporary and not isinstance(wish.intent, Tell):
            return Granted(words.wish_temporary)
        try:
            match wish.intent:
                case Remember():
                    return await self._remember(question, wish.intent, language)
                case Tell():
                    return await self._tell(question, language)
                case Forget(which="everything"):
                    return Granted(words.forget_everything)
                case Forget(which="conversation"):
                    return await self._forget_conversation(question, language)
                case Forget():
                    return await self._forget(question, wish.intent, wish.numbers, language)
        except TarsdError as error:
            log.info("%s: a wish to the memory failed: %s", question.trace, type(error).__name__)
            return Granted(words.wish_failed.format(reason=error))

    async def _remember(self, question: Question, asked: Remember, language: str) -> Granted:
        words = texts(language)
        scope, project = place_of(question, asked)
        request = SaveRequest(
            question.who,
            asked.text,
            sort=asked.sort,
            scope=scope,
            project=project,
            conversation=question.conversation,
            answer=question.answer,
        )
        item = await self._dispatch.one(calls.SAVE, request, trace=question.trace)
        notices = _copies(item.copies, language)
        if not item.is_new:
            return Granted(words.saved_already.format(text=item.memory.text), notices)
        if item.contradicts:
            old = ", ".join(f"«{each.text}»" if language == "es" else f"“{each.text}”" for each in item.contradicts)
            return Granted(words.saved_instead.format(text=item.memory.text, old=old), notices)
        form = words.saved if asked.sort == "fact" else words.saved_wish
        return Granted(form.format(text=item.memory.text), notices)

    async def _tell(self, question: Question, language: str) -> Granted:
        """Tell what is remembered that this person may see, newest first."""
        words = texts(language)
        request = MemoriesRequest(question.who, kinds=("memory",), limit=TOLD)
        found = await self._dispatch.one(calls.MEMORIES, request, trace=question.trace)
        if not found.memories:
            return Granted(words.told_nothing)
        lines = [words.told.format(listed="\n".join(f"- {picking.shown(each)}" for each in found.memories))]
        if (more := found.total - len(found.memories)) > 0:
            lines.append(words.told_more.format(count=more))
        return Granted("\n\n".join(lines))

    async def _forget_conversation(self, question: Question, language: str) -> Granted:
        words = texts(language)
        if not question.conversation:
            return Granted(words.forget_none)
        request = ForgetRequest(question.who, conversation=question.conversation)
        item = await self._dispatch.one(calls.FORGET, request, trace=question.trace)
        return Granted(words.forgotten_conversation, _pending([item], language))

    async def _forget(self, question: Question, asked: Forget, numbers: tuple[int, ...], language: str) -> Granted:
        words = texts(language)
        request = MemoriesRequest(question.who, query=asked.what, limit=LOOKED_AT)
        found = await self._dispatch.one(calls.MEMORIES, request, trace=question.trace)
        if numbers:
            meant = picking.chosen(numbers, question.turns, found.memories)
        else:
            meant = picking.meant(asked.what, found.memories)
            if len(meant) > 1:
                return Granted(words.forget_which.format(listed=picking.listed(meant)))
            if meant and not picking.is_clear(asked.what, meant[0]):
                return Granted(words.forget_this.format(listed=picking.listed(meant)))
        if not meant:
            return Granted(words.forget_none)
        lines: list[str] = []
        items: list[ForgetItem] = []
        for memory in meant:
            forgotten = await self._forget_one(question, memory)
            items += forgotten
            lines.append(words.forgotten.format(text=picking.shown(memory), key=memory.key))
        along = {key for item in items for key in item.keys} - {memory.key for memory in meant}
        if along:
            lines.append(words.forgotten_along.format(count=len(along)))
        return Granted("\n".join(lines), _pending(items, language))

    async def _forget_one(self, question: Question, memory: Memory) -> list[ForgetItem]:
        """Forget a memory and what it took the place of; the preview says first whether it may be forgotten."""
        looked = ForgetRequest(question.who, memory.key, preview=True)
        await self._dispatch.one(calls.FORGET, looked, trace=question.trace)
        items: list[ForgetItem] = []
        for key in (memory.key, *memory.contradicts):
            try:
                request = ForgetRequest(question.who, key)
                items.append(await self._dispatch.one(calls.FORGET, request, trace=question.trace))
            except NotFound:
                if key == memory.key:
                    raise
                # it went along with the first one
        return items


def place_of(question: Question, asked: Remember) -> tuple[Scope, str]:
    """Return for whom something is kept, and in which project (rule 2)."""
    if asked.for_all or not question.who.person:
        return ("project", question.project) if question.project and not asked.for_all else ("household", "")
    is_name = asked.sort == "instruction" and "name" in slots.wishes_of(asked.text)
    return ("project", question.project) if question.project and not is_name else ("person", "")


def _copies(copies: Copies, language: str) -> tuple[str, ...]:
    if not copies.degraded:
        return ()
    return (texts(language).few_copies.format(copies=copies.copies, wanted=copies.wanted),)


def _pending(items: list[ForgetItem], language: str) -> tuple[str, ...]:
    away = sorted({node.node for item in items for node in item.nodes if node.state != "done"})
    return (texts(language).forgotten_later.format(nodes=", ".join(away)),) if away else ()
