"""How an answer's next token is chosen: llama.cpp's samplers, a chain for each answer. In a worker only.

Rules
1. At temperature 0 the likeliest token; else penalties, top_k, top_p, min_p, temperature and chance, in this order.
2. What was said before the chain was made (`said`) counts against repetition as what this model says itself does.
3. A grammar is asked about the token that was chosen; only if it refuses that one is it asked about the whole
   vocabulary, which takes hundreds of times as long. A token that ends the answer is refused while it wants more.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterable
from typing import Any

import llama_cpp
import numpy as np

from tarsd.calls import ChatRequest
from tarsd.engines.batching.grammars import Grammar
from tarsd.engines.batching.native import Native
from tarsd.errors import InvalidInput

PENALIZED_TOKENS = 64
FREE = Grammar("", "grammar")

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Sampler:
    """Chooses the tokens of one answer; `free` it."""

    def __init__(self, native: Native, asked: ChatRequest, grammar: Grammar = FREE, said: Iterable[int] = ()) -> None:
        self._native = native
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        for sampler in _samplers(asked, native.vocab_size):
            llama_cpp.llama_sampler_chain_add(self._chain, sampler)
        self._grammar = None
        if grammar.text:
            self._grammar = llama_cpp.llama_sampler_init_grammar(native.vocab, grammar.text.encode(), b"root")
            if not self._grammar:
                self.free()
                raise InvalidInput(
                    f"{grammar.field}: llama.cpp refuses the grammar (GBNF with a rule `root`, no left recursion)"
                )
        for token in said:
            if self._grammar is not None and not self._allows(token):  # llama.cpp would end the process
                self.free()
                raise InvalidInput(f"partial: what was said already does not fit `{grammar.field}`")
            self._accept(token)

    def free(self) -> None:
        """Give back what the library holds."""
        if self._chain:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar:
            llama_cpp.llama_sampler_free(self._grammar)
            self._grammar = None

    def choose(self, index: int) -> int:
        """Return the next token after the logits at `index` of the last step."""
        if self._grammar is None:
            return int(llama_cpp.llama_sampler_sample(self._chain, self._native.context, index))
        token = self._pick(self._candidates(index))
        if not self._allows(token):
            candidates = self._candidates(index)
            _apply(self._grammar, candidates)
            token = self._pick(candidates[np.isfinite(candidates["logit"])])
        self._accept(token)
        return token

    def _accept(self, token: int) -> None:
        llama_cpp.llama_sampler_accept(self._chain, token)
        if self._grammar is not None:
            llama_cpp.llama_sampler_accept(self._grammar, token)

    def _candidates(self, index: int) -> Any:
        logits = self._native.logits(index)
        candidates: Any = np.empty(len(logits), _CANDIDATE)
        candidates["id"] = self._native.token_numbers
        candidates["logit"] = logits
        candidates["p"] = 0.0
        return candidates

    def _pick(self, candidates: Any) -> int:
        if not len(candidates):
            raise InvalidInput("grammar: it allows no token at all here")
        return int(candidates["id"][_apply(self._chain, candidates)])

    def _allows(self, token: int) -> bool:
        one = np.array([(token, 1.0, 0.0)], _CANDIDATE)
        _apply(self._grammar, one)
        return bool(np.isfinite(one["logit"][0]))


def _apply(sampler: Any, candidates: Any) -> int:
    """Apply a sampler to `candidates`, which it may sort and cut; return the index of the one that it selected."""
    data = candidates.ctypes.data_as(llama_cpp.llama_token_data_p)
    array = llama_cpp.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
    llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
    return int(array.selected)


def _samplers(asked: ChatRequest, vocab_size: int) -> Iterable[Any]:
    yield llama_cpp.llama_sampler_init_penalties(
        vocab_size, PENALIZED_TOKENS, asked.repeat_penalty, asked.frequency_penalty, asked.presence_penalty
    )
    if asked.temperature <= 0.0:
        yield llama_cpp.llama_sampler_init_greedy()
        return
    yield llama_cpp.llama_sampler_init_top_k(asked.top_k)
    yield llama_cpp.llama_sampler_init_top_p(asked.top_p, 1)
    yield llama_cpp.llama_sampler_init_min_p(asked.min_p, 1)
    yield llama_cpp.llama_sampler_init_temp(asked.temperature)
    seed = random.getrandbits(32) if asked.seed is None else asked.seed % 2**32
    yield llama_cpp.llama_sampler_init_dist(seed)
