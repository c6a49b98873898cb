"""All answers of one context: who is admitted, what goes into a step, what comes out of it. In a worker only.

Rules
1. Answers are admitted in the order in which they came; one that lacks room holds back those behind it, so that a long
   one is not passed for ever. Who is admitted has all the cells that it may need (`cache`).
2. A step evaluates the last token of each answer that is being written, and a slice of the prompts (`slices`): answers
   join and leave at any token.
3. A request with a seed gets the same answer each time, alone or beside others: it reuses nothing, and while it is
   there a step has less than `TILE` tokens. From so many on llama.cpp's flash attention on CPUs works in tiles, whose
   sums depend on where cells lie; below, logits were the same to the last bit for every slice, neighbour and place
   (bundled model; 0.5 apart otherwise). On a GPU, or a CPU without flash attention, a close call can fall otherwise
   beside others: cells of its own for each sequence would be exact there, and give each a fixed share of the context.
4. The state of a conversation that is pushed out is saved in memory, and brought back when that conversation goes on.
5. Text decides what is reused, where tokens differ: what a model wrote need not be split as the tokenizer would.
6. When llama.cpp finds no room after all, what is warm goes; then the youngest answer ends with an error, alone. When
   it fails in a step, each part of it is tried alone, and only an answer whose own part fails ends.
7. Told to keep nothing (`keep_nothing`), what is warm and what is saved goes at once, and what is being written, or
   waits, goes when it ends: somebody had something forgotten that may stand in it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from tarsd.calls import ChatRequest
from tarsd.engines.batching import slices
from tarsd.engines.batching.answer import Answer
from tarsd.engines.batching.cache import Cache, Copy, Cut, Effect, Evict, Placement, Restore, common
from tarsd.engines.batching.grammars import grammar_of
from tarsd.engines.batching.native import BATCH_TOKENS, Native, NoRoom, Part
from tarsd.engines.batching.prompts import Prompts, new_call_id
from tarsd.engines.batching.prompts_shape import Prompt
from tarsd.engines.batching.sampling import Sampler
from tarsd.engines.batching.shelf import Shelf
from tarsd.engines.batching.slices import Slices, shares
from tarsd.engines.toolcalls import OPENERS
from tarsd.errors import EngineUnavailable, Overloaded, TarsdError

TILE = 64  # ggml-cpu: GGML_FA_TILE_Q
NEARLY = 1.5
_NO_ROOM = "llama.cpp has no room for this answer beside the others"


class Board:
    """The answers of one model; `step` does the work, an answer's `items` are what comes of it."""

    def __init__(self, native: Native, prompts: Prompts, cache: Cache, shelf: Shelf, slots: int) -> None:
        self._native = native
        self._slots = slots
        self._prompts = prompts
        self.cache = cache
        self.shelf = shelf
        self.slices = Slices(BATCH_TOKENS)
        self._waiting: list[Answer] = []
        self._active: list[Answer] = []
        self._texts: dict[int, str] = {}  # of warm sequences
        self.last_step: list[Part] = []
        self.broken_steps = 0  # of which nothing came, one after another
        # Some vocabularies have a control token for what opens a call, and control tokens have no text.
        split = [native.tokenize(opener, special=True) for opener in OPENERS]
        self._openers = {tokens[0] for tokens in split if len(tokens) == 1}

    def warm_up(self) -> None:
        """Evaluate a few tokens for nobody: the first prompt finds the weights in memory, and slices that fit."""
        tokens = self._native.begun(self._native.tokenize("warm " * slices.FIRST, special=False))[: slices.FIRST]
        began = time.perf_counter()
        self._native.evaluate([Part(0, 0, tokens, True)])
        self.slices.warmed_up(len(tokens), time.perf_counter() - began)
        self._native.cut(0, 0)

    def enter(self, asked: ChatRequest) -> Answer:
        """Take a request; raises `InvalidInput` for one that cannot be served."""
        prompt = self._prompts.make(asked)
        if asked.seed is None and not asked.prompt:
            prompt = self._as_held(asked, prompt)
        most = min(max(1, asked.max_tokens), self._native.context_tokens - len(prompt.tokens))
        grammar = grammar_of(asked)
        sampler = Sampler(self._native, asked, grammar, prompt.said)
        answer = Answer(asked, prompt, sampler, most, new_call_id)
        self._waiting.append(answer)
        return answer

    def keep_nothing(self) -> None:
        """Rule 7; where nobody is being answered the cells are overwritten too."""
        for effect in self.cache.drop_warm():
            self._native.cut(effect.sequence, 0)
        self._texts.clear()
        self.shelf.clear()
        for answer in (*self._active, *self._waiting):
            answer.is_kept = False
        if not self._active:
            self._native.wipe()

    def position(self, answer: Answer) -> int:
        """Return how many are before an answer that waits for room, itself included; 0 = it has its place."""
        return self._waiting.index(answer) + 1 if answer in self._waiting else 0

    def leave(self, answer: Answer) -> None:
        """Give up its place and what it holds, whether it ended or not."""
        if answer in self._waiting:
            self._waiting.remove(answer)
        if answer in self._active:
            self._active.remove(answer)
            self._release(answer)
        answer.sampler.free()

    def step(self) -> None:
        """Do one step for all; raises `EngineUnavailable` when llama.cpp fails."""
        self._admit()
        while parts := self._parts():
            began = time.perf_counter()
            try:
                indices = self._native.evaluate([part for _, part in parts])
            except NoRoom:
                self._make_room()
                continue
            except EngineUnavailable:
                self._each_alone(parts)
                return
            self.last_step, self.broken_steps = [part for _, part in parts], 0
            self._take(parts, indices)
            self._learn(parts, time.perf_counter() - began)
            return

    def _each_alone(self, parts: Sequence[tuple[Answer, Part]]) -> None:
        """Rule 6: a step that failed as a whole."""
        failed = 0
        there = [self._native.cut(part.sequence, part.start) for _, part in parts]
        for (answer, part), is_there in zip(parts, there, strict=True):
            try:
                if not is_there:
                    raise EngineUnavailable("llama.cpp lost this answer's state in a step that failed")
                indices = self._native.evaluate([part])
            except (NoRoom, EngineUnavailable) as error:
                self._native.cut(part.sequence, 0)
                self.cache.rows[part.sequence].held.clear()
                answer.fail(error if isinstance(error, EngineUnavailable) else Overloaded(_NO_ROOM, retry_after_s=2.0))
                failed += isinstance(error, EngineUnavailable)
                self._settle(answer)
            else:
                self.last_step = [part]
                self._take([(answer, part)], indices)
        self.broken_steps = self.broken_steps + 1 if failed == len(parts) else 0

    # --- who is in --------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        while self._waiting and len(self._active) < self._slots:
            answer = self._waiting[0]
            placed = self.cache.place(
                answer.prompt.tokens, answer.most_tokens, self.shelf.rows(), fresh=answer.is_repeatable
            )
            if placed is None:
                return
            self._waiting.pop(0)
            self._active.append(answer)
            answer.begin(placed.sequence, self._carry_out(placed))

    def _carry_out(self, placed: Placement) -> int:
        """Do what a placement needs; return how much of the prompt is there."""
        states = {effect.key: self.shelf.take(effect.key) for effect in placed.effects if isinstance(effect, Restore)}
        is_there = True
        for effect in placed.effects:
            match effect:
                case Restore(key, to):
                    is_there = self._native.restore(to, states[key])
                case Cut(sequence, length):
                    is_there = is_there and self._native.cut(sequence, length)
                case _:
                    self._do(effect)
        self._texts.pop(placed.sequence, None)
        if is_there and self._native.holds_all(placed.sequence, placed.reused):
            return placed.reused
        self._native.cut(placed.sequence, 0)  # a state that cannot be used as hoped is read anew
        self.cache.rows[placed.sequence].held.clear()
        return 0

    def _do(self, effect: Effect) -> None:
        match effect:
            case Evict(sequence, tokens):
                if self.shelf.wants(tokens, self._native.state_bytes(sequence)) and (
                    state := self._native.save(sequence)
                ):
                    self.shelf.put(tokens, state, self._texts.get(sequence, ""))
                self._native.cut(sequence, 0)
                self._texts.pop(sequence, None)
            case Copy(source, to, length):
                self._native.copy(source, to, length)
            case _:
                raise AssertionError(effect)

    def _release(self, answer: Answer) -> None:
        assert answer.sequence is not None
        self.cache.finish(answer.sequence)
        if not answer.is_kept:
            self._native.cut(answer.sequence, 0)
            self.cache.rows[answer.sequence].held.clear()
        elif (text := answer.held_text()) is not None:
            self._texts[answer.sequence] = text

    def _make_room(self) -> None:
        """Rule 6."""
        warm = self.cache.drop_warm()
        for effect in warm:
            self._do(effect)
        if not warm:
            youngest = self._active[-1]
            youngest.fail(Overloaded(_NO_ROOM, retry_after_s=2.0))
            self._settle(youngest)

    def _as_held(self, asked: ChatRequest, prompt: Prompt) -> Prompt:
        """Return the prompt split as a warm or saved row has it, where that stands for its beginning (rule 5)."""
        text = prompt.text[: len(prompt.text) - len(asked.partial)]
        warm = [(held_text, self.cache.rows[sequence].held) for sequence, held_text in self._texts.items()]
        found = [row for row in [*warm, *self.shelf.texts()] if text.startswith(row[0])]
        if not found:
            return prompt
        held_text, held = max(found, key=lambda row: len(row[1]))
        if common(held, prompt.tokens) == len(held):
            return prompt
        rest = self._native.tokenize(text[len(held_text) :], special=True)
        tokens = [*held, *rest, *prompt.said]
        return msgspec.structs.replace(prompt, tokens=tokens) if len(tokens) < self._native.context_tokens else prompt

    # --- a step -----------------------------------------------------------------------------------------------------

    def _parts(self) -> list[tuple[Answer, Part]]:
        """Return what is evaluated now (rule 2)."""
        writing = [answer for answer in self._active if answer.pending is not None]
        parts = [(answer, self._next_token(answer)) for answer in writing]
        is_exact = any(answer.is_repeatable for answer in self._active)
        room = (TILE - 1 if is_exact else BATCH_TOKENS) - len(parts)
        reading = [answer for answer in self._active if answer.is_reading]
        size = self.slices.size(is_shared=bool(writing))
        if not writing and (left := sum(answer.left for answer in reading)) <= size * NEARLY:
            size = left  # two steps would take longer than one that is a little too long
        size = min(size, room)
        for answer, tokens in zip(reading, shares([answer.left for answer in reading], size), strict=True):
            if tokens:
                parts.append((answer, _slice(answer, tokens)))
        return parts

    def _next_token(self, answer: Answer) -> Part:
        assert answer.sequence is not None
        assert answer.pending is not None
        return Part(answer.sequence, len(self.cache.rows[answer.sequence].held), [answer.pending], True)

    def _take(self, parts: Sequence[tuple[Answer, Part]], indices: Sequence[int]) -> None:
        for (answer, part), index in zip(parts, indices, strict=True):
            self.cache.extend(part.sequence, part.tokens)
            if answer.pending is None:
                answer.read += len(part.tokens)
            else:
                answer.wrote_pending()
            if index >= 0:
                self._choose(answer, index)
            if answer.has_ended:
                self._settle(answer)

    def _choose(self, answer: Answer, index: int) -> None:
        try:
            token = answer.sampler.choose(index)
        except TarsdError as error:
            answer.fail(error)
            return
        is_end = self._native.is_end(token)
        special = answer.has_tools and token in self._openers  # shown to who looks for calls
        piece = b"" if is_end else self._native.piece(token, first=answer.is_first, special=special)
        answer.take(token, piece, is_end=is_end)

    def _settle(self, answer: Answer) -> None:
        """An answer ended: its cells are free for others, whenever its reader leaves."""
        self._active.remove(answer)
        self._release(answer)

    def _learn(self, parts: Sequence[tuple[Answer, Part]], seconds: float) -> None:
        of_prompts = sum(len(part.tokens) for answer, part in parts if part.start < len(answer.prompt.tokens))
        is_shared = any(part.start >= len(answer.prompt.tokens) for answer, part in parts)
        if of_prompts:
            self.slices.took(of_prompts, seconds, is_shared=is_shared)


def _slice(answer: Answer, tokens: int) -> Part:
    assert answer.sequence is not None
    end = answer.read + tokens
    is_last = end == len(answer.prompt.tokens)
    return Part(answer.sequence, answer.read, answer.prompt.tokens[answer.read : end], is_last)
