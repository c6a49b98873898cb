"""llama.cpp in a worker: imported there only.

Rules
1. The prompt is evaluated in slices that take about `_SLICE_S`, and between them the call can be cancelled. Logits are
   asked for after the last one only: the head costs more than all else that slicing adds.
2. What the context holds already of a prompt (the conversation so far) is not evaluated again.
3. A request with a seed gets the same answer each time: it reuses nothing and its slices are of one size, since the
   same numbers summed up in other batches round otherwise.
4. An answer that is continued goes on as if it had never been cut: what was said already is in the prompt as text, and
   counts against its repetition as what this model says itself does.
5. The answer ends at the model's own end tokens, at a stop string, at `max_tokens`, or when the context is full.
"""

from __future__ import annotations

import ctypes
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import llama_cpp
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from tarsd.calls import ChatItem, ChatRequest, Usage
from tarsd.engines.base import EngineInfo
from tarsd.engines.llama_cpp import LlamaCppSettings
from tarsd.engines.prompt import Defuser, plain_turns
from tarsd.engines.text import StopFilter, Utf8
from tarsd.errors import ContextOverflow, EngineUnavailable, InvalidInput
from tarsd.wire import decode, encode

_SLICE_S = 0.4
_FIRST_SLICE_TOKENS = 64
_MIN_SLICE_TOKENS = 16
_BATCH_TOKENS = 512
_PIECE_BYTES = 512  # the longest token of any known vocabulary is half of it


class LlamaCppWorker:
    """One model in one context; answers are generated one after another."""

    def __init__(self, settings: bytes) -> None:
        chosen = decode(settings, LlamaCppSettings)
        self._llama = _load(chosen)
        self._vocab = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._context_tokens = int(self._llama.n_ctx())
        self._name = Path(chosen.path).stem
        self._piece = ctypes.create_string_buffer(_PIECE_BYTES)
        # A recurrent state cannot go back to an earlier token; it can only be extended.
        self._can_rewind = not (
            llama_cpp.llama_model_is_recurrent(self._llama.model) or llama_cpp.llama_model_is_hybrid(self._llama.model)
        )
        self._slice_tokens = _FIRST_SLICE_TOKENS
        self._batch = llama_cpp.llama_batch_init(_BATCH_TOKENS, 0, 1)
        self._defuser = Defuser(_control_strings(self._vocab))
        self._template = _template(self._llama)
        self._said: list[int] = []  # the tokens of the answer that this model did not write itself
        self._llama._init_sampler = self._sampler_that_knows(self._llama._init_sampler)  # noqa: SLF001 - no public way

    def describe(self, request: bytes) -> Iterator[bytes]:
        """Yield one `EngineInfo`."""
        yield encode(EngineInfo("llama_cpp", self._name, self._context_tokens))

    def generate(self, request: bytes) -> Iterator[bytes]:
        """Yield the `ChatItem`s of one `ChatRequest`, an item per token."""
        asked = decode(request, ChatRequest)
        prompt = self._tokens(asked)
        if len(prompt) >= self._context_tokens:
            raise ContextOverflow(
                f"messages: {len(prompt)} tokens do not fit the model's context of {self._context_tokens} tokens"
            )
        yield from self._evaluate(prompt, repeatably=asked.seed is not None)
        yield from self._answer(asked, prompt)

    def close(self) -> None:
        """Free the model."""
        llama_cpp.llama_batch_free(self._batch)
        self._llama.close()

    def _answer(self, asked: ChatRequest, prompt: list[int]) -> Iterator[bytes]:
        most = min(asked.max_tokens, self._context_tokens - len(prompt))
        text, stops = Utf8(), StopFilter(asked.stop)
        written, reason = 0, "length"
        for token in self._sample(asked, prompt) if most > 0 else ():
            if llama_cpp.llama_vocab_is_eog(self._vocab, token):
                reason = "stop"
                break
            written += 1
            shown = stops.feed(text.feed(self._text_of(token, first=written == 1 and not asked.partial)))
            yield encode(ChatItem(text=shown)) if shown else b""
            if stops.stopped:
                reason = "stop"
                break
            if written >= most:
                break
        rest = "" if stops.stopped else stops.feed(text.finish()) + stops.finish()
        yield encode(ChatItem(text=rest, finish_reason=reason, usage=Usage(len(prompt), written)))  # type: ignore[arg-type]

    def _sample(self, asked: ChatRequest, prompt: list[int]) -> Iterator[int]:
        """Yield the tokens that the model writes after the evaluated prompt."""
        self._llama.set_seed(asked.seed % 2**32 if asked.seed is not None else random.getrandbits(32))
        tokens: Iterator[int] = self._llama.generate(
            prompt,
            temp=max(0.0, asked.temperature),
            top_p=asked.top_p,
            repeat_penalty=asked.repeat_penalty,
        )
        return tokens

    def _tokens(self, asked: ChatRequest) -> list[int]:
        prompt = self._render(self._defuser.messages(asked.messages))
        tokens: list[int] = self._llama.tokenize(prompt.encode(), add_bos=False, special=True)
        bos = llama_cpp.llama_vocab_bos(self._vocab)
        if llama_cpp.llama_vocab_get_add_bos(self._vocab) and tokens[:1] != [bos]:
            tokens.insert(0, bos)
        # Text, whatever it says: what an answer contains is no control token.
        partial = asked.partial.encode()
        self._said = self._llama.tokenize(partial, add_bos=False, special=False) if partial else []
        return tokens + self._said

    def _sampler_that_knows(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Return `make`, whose samplers have seen what was said already: the library shows them only new tokens."""

        def made(**options: Any) -> Any:
            sampler = make(**options)
            for token in self._said:
                sampler.accept(token)
            return sampler

        return made

    def _render(self, messages: list[dict[str, str]]) -> str:
        try:
            return str(self._template(messages=messages).prompt)
        except (jinja2.TemplateError, ValueError):
            # ValueError is what `raise_exception` of a template becomes: a role that it does not know.
            pass
        try:
            return str(self._template(messages=plain_turns(messages)).prompt)
        except (jinja2.TemplateError, ValueError) as error:
            raise InvalidInput(f"messages: the model's chat template refuses them: {error}") from error

    def _evaluate(self, prompt: list[int], *, repeatably: bool) -> Iterator[bytes]:
        """Bring the context to the end of `prompt`, with places to cancel (rules 1 to 3)."""
        self._llama.n_tokens = 0 if repeatably else self._reusable(prompt)
        if self._llama.n_tokens == 0:
            self._llama.reset()
        while (done := self._llama.n_tokens) < len(prompt):
            yield b""
            before = time.perf_counter()
            part = prompt[done : done + (_FIRST_SLICE_TOKENS if repeatably else self._slice_tokens)]
            if done + len(part) == len(prompt):
                self._llama.eval(part)
                return
            self._take(part)
            self._slice_tokens = _next_slice(len(part), time.perf_counter() - before)

    def _take(self, part: list[int]) -> None:
        """Bring `part` into the context without logits, which `Llama.eval` always computes."""
        llama, batch, done = self._llama, self._batch, self._llama.n_tokens
        llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(llama.ctx), -1, done, -1)
        batch.n_tokens = len(part)
        for index, token in enumerate(part):
            batch.token[index] = token
            batch.pos[index] = done + index
            batch.seq_id[index][0] = 0
            batch.n_seq_id[index] = 1
            batch.logits[index] = 0
        failed = llama_cpp.llama_decode(llama.ctx, batch)
        if failed:
            raise EngineUnavailable(f"llama.cpp cannot evaluate the prompt (llama_decode: {failed})")
        llama.input_ids[done : done + len(part)] = part
        llama.n_tokens = done + len(part)

    def _reusable(self, prompt: list[int]) -> int:
        """Return how many tokens of `prompt` are in the context already; the last one is always evaluated anew."""
        held = self._llama.input_ids[: self._llama.n_tokens].tolist()
        same = 0
        for ours, theirs in zip(held, prompt[:-1], strict=False):
            if ours != theirs:
                break
            same += 1
        return same if self._can_rewind or same == len(held) else 0

    def _text_of(self, token: int, *, first: bool) -> bytes:
        """Return the token's bytes; some vocabularies begin each answer with a space, which is not shown."""
        length = llama_cpp.llama_token_to_piece(self._vocab, token, self._piece, _PIECE_BYTES, 1 if first else 0, False)
        return self._piece.raw[: max(0, length)]


def _next_slice(tokens: int, took_s: float) -> int:
    """Return how many tokens fill `_SLICE_S` at the speed just seen, in steps that a batch likes."""
    fitting = int(tokens * _SLICE_S / max(took_s, 1e-6)) // _MIN_SLICE_TOKENS * _MIN_SLICE_TOKENS
    return min(max(fitting, _MIN_SLICE_TOKENS), _BATCH_TOKENS)


def _load(chosen: LlamaCppSettings) -> Any:
    llama = _open(chosen, chosen.context_tokens)
    trained = llama_cpp.llama_model_n_ctx_train(llama.model)
    if 0 < trained < chosen.context_tokens:
        # Beyond what it was trained for a model writes nonsense.
        llama.close()
        llama = _open(chosen, trained)
    return llama


def _open(chosen: LlamaCppSettings, context_tokens: int) -> Any:
    try:
        return llama_cpp.Llama(
            chosen.path,
            n_ctx=context_tokens,
            n_batch=_BATCH_TOKENS,
            n_threads=chosen.threads,
            n_threads_batch=chosen.threads,
            n_gpu_layers=chosen.gpu_layers,
            verbose=False,
        )
    except (ValueError, RuntimeError) as error:
        raise EngineUnavailable(f"llama.cpp cannot load {chosen.path}: {error}") from error


def _template(llama: Any) -> Jinja2ChatFormatter:
    source = llama.metadata.get("tokenizer.chat_template")
    if not source:
        raise EngineUnavailable("the model has no chat template, so it cannot converse: take an instruct model")
    vocab = llama_cpp.llama_model_get_vocab(llama.model)
    return Jinja2ChatFormatter(
        template=source,
        eos_token=_token_text(vocab, llama_cpp.llama_vocab_eos(vocab)),
        bos_token=_token_text(vocab, llama_cpp.llama_vocab_bos(vocab)),
    )


def _token_text(vocab: Any, token: int) -> str:
    return llama_cpp.llama_vocab_get_text(vocab, token).decode(errors="replace") if token >= 0 else ""


def _control_strings(vocab: Any) -> Iterator[str]:
    for token in range(llama_cpp.llama_vocab_n_tokens(vocab)):
        if llama_cpp.llama_vocab_is_control(vocab, token) or llama_cpp.llama_vocab_is_eog(vocab, token):
            yield _token_text(vocab, token)
