"""llama.cpp's model and context, as far as batching needs them: a thin shell over the low-level API. In a worker only.

Everything is called from one thread. Sequences are llama.cpp's; one unified pool of cells serves all of them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp
import numpy as np

from tarsd.engines.batching.gpu import gpu_layers as _gpu_layers
from tarsd.errors import EngineUnavailable

BATCH_TOKENS = 512
_PIECE_BYTES = 512  # the longest token of any known vocabulary is half of it
_NO_SLOT = 1  # what llama_decode returns when no cells are free

_ERROR_LEVEL = 4


def _print_error(level: int, text: bytes, data: Any) -> None:
    """Errors of the library are for the log; what it tells while it loads is not."""
    if level == _ERROR_LEVEL:
        print(text.decode(errors="replace"), end="", flush=True)  # noqa: T201 - the child's output is the log's


_log = llama_cpp.llama_log_callback(_print_error)  # kept: the library calls it for as long as it is loaded


class NoRoom(Exception):
    """No cells are free for a batch; nothing of it was evaluated."""


class Part(NamedTuple):
    """What one sequence gets in a step: tokens from position `start` on; `wants_logits` after the last one."""

    sequence: int
    start: int
    tokens: Sequence[int]
    wants_logits: bool


class Native:
    """One model in one context."""

    def __init__(self, path: Path, *, context_tokens: int, cells: int, sequences: int, threads: int, gpu_layers: int):
        llama_cpp.llama_backend_init()
        llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))
        self.model = _load(path, _gpu_layers(gpu_layers, path, cells or context_tokens))
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        trained = int(llama_cpp.llama_model_n_ctx_train(self.model))
        # Beyond what it was trained for a model writes nonsense.
        self.context_tokens = min(context_tokens, trained) if trained > 0 else context_tokens
        # Without a number of its own the pool is as large as one answer may be.
        self.cells = cells or self.context_tokens
        self.context_tokens = min(self.context_tokens, self.cells)
        self.context = self._open(sequences, threads)
        self._memory = llama_cpp.llama_get_memory(self.context)
        # A recurrent state cannot go back to an earlier token; it can only be extended.
        self.can_rewind = not (
            llama_cpp.llama_model_is_recurrent(self.model) or llama_cpp.llama_model_is_hybrid(self.model)
        )
        self._window = int(llama_cpp.llama_model_n_swa(self.model))
        self.vocab_size = int(llama_cpp.llama_vocab_n_tokens(self.vocab))
        self.token_numbers: Any = np.arange(self.vocab_size, dtype=np.int32)
        self._piece = ctypes.create_string_buffer(_PIECE_BYTES)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        # Arrays over the batch's own memory: filling them by slices costs a fraction of doing so token by token.
        self._tokens = np.ctypeslib.as_array(self._batch.token, (BATCH_TOKENS,))
        self._positions = np.ctypeslib.as_array(self._batch.pos, (BATCH_TOKENS,))
        self._logits = np.ctypeslib.as_array(self._batch.logits, (BATCH_TOKENS,))
        np.ctypeslib.as_array(self._batch.n_seq_id, (BATCH_TOKENS,))[:] = 1
        self._sequences = [np.ctypeslib.as_array(self._batch.seq_id[index], (1,)) for index in range(BATCH_TOKENS)]

    def close(self) -> None:
        """Free everything."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def evaluate(self, parts: Sequence[Part]) -> list[int]:
        """Evaluate a step; return for each part the index of its logits, -1 where it wants none.

        At most `BATCH_TOKENS` tokens in all. Raises `NoRoom`, or `EngineUnavailable` when llama.cpp fails.
        """
        indices, at = [], 0
        for part in parts:
            end = at + len(part.tokens)
            self._tokens[at:end] = part.tokens
            self._positions[at:end] = range(part.start, part.start + len(part.tokens))
            self._logits[at:end] = 0
            for index in range(at, end):
                self._sequences[index][0] = part.sequence
            if part.wants_logits:
                self._logits[end - 1] = 1
            indices.append(end - 1 if part.wants_logits else -1)
            at = end
        self._batch.n_tokens = at
        failed = llama_cpp.llama_decode(self.context, self._batch)
        if failed == _NO_SLOT:
            raise NoRoom
        if failed:
            raise EngineUnavailable(f"llama.cpp cannot evaluate a batch (llama_decode: {failed})")
        return indices

    def logits(self, index: int) -> Any:
        """Return the logits at `index` of the last step: float32, one for each token; valid until the next step."""
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, index), (self.vocab_size,))

    # --- sequences ------------------------------------------------------------------------------------------------

    def cut(self, sequence: int, length: int) -> bool:
        """Forget what a sequence holds from `length` on; False where the model cannot go back so far."""
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def wipe(self) -> None:
        """Forget what every sequence holds, and overwrite where it stood."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def copy(self, source: int, to: int, length: int) -> None:
        """Let `to` hold what `source` begins with."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, to, 0, length)

    def holds_all(self, sequence: int, length: int) -> bool:
        """Tell whether `sequence` can go on at `length`: of a sliding window, what had left it may be overwritten."""
        if not self._window:
            return True
        return bool(llama_cpp.llama_memory_seq_pos_min(self._memory, sequence) <= max(0, length - self._window))

    def state_bytes(self, sequence: int) -> int:
        """Return how large a sequence's saved state would be."""
        return int(llama_cpp.llama_state_seq_get_size(self.context, sequence))

    def save(self, sequence: int) -> bytes:
        """Return a sequence's state; b"" where that cannot be had."""
        size = self.state_bytes(sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_seq_get_data(self.context, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, state: bytes) -> bool:
        """Bring a saved state back; False where there is no room for it or it does not fit."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        return bool(llama_cpp.llama_state_seq_set_data(self.context, buffer, len(state), sequence))

    # --- tokens ---------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of `text`; `special`: control strings in it are control tokens."""
        data = text.encode()
        size = len(data) + 8
        tokens = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), tokens, size, False, special)
        if count < 0:
            tokens = (llama_cpp.llama_token * -count)()
            count = llama_cpp.llama_tokenize(self.vocab, data, len(data), tokens, -count, False, special)
        return list(tokens[:count])

    def begun(self, tokens: list[int]) -> list[int]:
        """Return a prompt's tokens with the beginning that the model wants."""
        bos = llama_cpp.llama_vocab_bos(self.vocab)
        if llama_cpp.llama_vocab_get_add_bos(self.vocab) and tokens[:1] != [bos]:
            return [bos, *tokens]
        return tokens

    def is_end(self, token: int) -> bool:
        """Tell whether the model ends its answer with `token`."""
        return bool(llama_cpp.llama_vocab_is_eog(self.vocab, token))

    def piece(self, token: int, *, first: bool, special: bool = False) -> bytes:
        """Return the token's bytes; some vocabularies begin each answer with a space, which is not shown.

        A control token is b"" unless `special`.
        """
        strip = 1 if first else 0
        length = llama_cpp.llama_token_to_piece(self.vocab, token, self._piece, _PIECE_BYTES, strip, special)
        return self._piece.raw[: max(0, length)]

    def control_strings(self) -> Iterator[str]:
        """Yield the texts of all control tokens."""
        for token in range(self.vocab_size):
            if llama_cpp.llama_vocab_is_control(self.vocab, token) or llama_cpp.llama_vocab_is_eog(self.vocab, token):
                yield self.token_text(token)

    @cached_property
    def longest_token(self) -> int:
        """The length of the vocabulary's longest token, in bytes."""
        return max(len(self.token_text(token).encode()) for token in range(self.vocab_size))

    def token_text(self, token: int) -> str:
        """Return a token's own text, "" for none."""
        if token < 0:
            return ""
        return str(llama_cpp.llama_vocab_get_text(self.vocab, token).decode(errors="replace"))

    def bos_text(self) -> str:
        """Return the text of the token that begins a prompt."""
        return self.token_text(llama_cpp.llama_vocab_bos(self.vocab))

    def eos_text(self) -> str:
        """Return the text of the token that ends an answer."""
        return self.token_text(llama_cpp.llama_vocab_eos(self.vocab))

    # --- about the model --------------------------------------------------------------------------------------------

    def metadata(self, key: str) -> str:
        """Return a value of the model file's metadata, "" where it has none."""
        size = 1 << 16
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_model_meta_val_str(self.model, key.encode(), buffer, size)
            if length < size:
                return buffer.value.decode(errors="replace") if length >= 0 else ""
            size = length + 1

    def template(self) -> str:
        """Return the model's chat template, "" for a model that has none."""
        found = llama_cpp.llama_model_chat_template(self.model, None)
        return found.decode(errors="replace") if found else ""

    def parameters(self) -> int:
        """Return how many parameters the model has."""
        return int(llama_cpp.llama_model_n_params(self.model))

    def size_bytes(self) -> int:
        """Return how large its weights are."""
        return int(llama_cpp.llama_model_size(self.model))

    def quantization(self) -> str:
        """Return how its weights are stored, as llama.cpp calls it."""
        buffer = ctypes.create_string_buffer(256)
        llama_cpp.llama_model_desc(self.model, buffer, 256)
        return buffer.value.decode(errors="replace").rpartition(" ")[2]

    def _open(self, sequences: int, threads: int) -> Any:
        chosen = llama_cpp.llama_context_default_params()
        chosen.n_ctx = self.cells
        chosen.n_batch = BATCH_TOKENS
        chosen.n_ubatch = BATCH_TOKENS
        chosen.n_seq_max = sequences
        chosen.n_threads = threads
        chosen.n_threads_batch = threads
        chosen.kv_unified = True
        context = llama_cpp.llama_init_from_model(self.model, chosen)
        if not context:
            raise EngineUnavailable(f"llama.cpp cannot make a context of {self.cells} tokens: is there enough memory?")
        return context


def _load(path: Path, layers: int) -> Any:
    chosen = llama_cpp.llama_model_default_params()
    chosen.n_gpu_layers = layers
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), chosen)
    if not model:
        raise EngineUnavailable(f"llama.cpp cannot load {path}: broken, or of a kind that this build does not know")
    return model
