"""sentence-transformers in a worker: imported there only.

A text longer than the model's window is cut at word pieces into overlapping windows; its vector is the mean of theirs,
each weighted by its pieces, so that no tail is lost (a Spanish paragraph often overflows an English model's window).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from tarsd.engines.base import EngineInfo
from tarsd.engines.sentence_transformers import Embedded, EmbedLot, SentenceTransformersSettings, model_name
from tarsd.engines.windows import windows
from tarsd.errors import EngineUnavailable
from tarsd.wire import decode, encode

_BATCH_WINDOWS = 16  # between two batches a call can be cancelled


class SentenceTransformersWorker:
    """One embedding model."""

    def __init__(self, settings: bytes) -> None:
        chosen = decode(settings, SentenceTransformersSettings)
        torch.set_num_threads(chosen.threads)
        # oneDNN writes machine code at run time, which the unit's MemoryDenyWriteExecute forbids; as fast without it
        torch.backends.mkldnn.enabled = False
        try:
            self._model: Any = SentenceTransformer(chosen.folder, device="cpu", local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise EngineUnavailable(f"sentence-transformers cannot load {chosen.folder}: {error}") from error
        self._name = model_name(Path(chosen.folder))
        self._window_pieces = int(self._model.max_seq_length or 256)
        next(iter(self._encode(["warm"], "query")))  # the first batch pays for kernels and caches; not a person's

    def describe(self, request: bytes) -> Iterator[bytes]:
        """Yield one `EngineInfo`."""
        yield encode(EngineInfo("sentence_transformers", self._name, self._window_pieces))

    def embed(self, request: bytes) -> Iterator[bytes]:
        """Yield, for each text of an `EmbedLot`, an `Embedded`: its vector is float32, little-endian, of length 1."""
        lot = decode(request, EmbedLot)
        counted = [self._windows(text, lot.purpose) for text in lot.texts]
        parts = [part for part, _ in counted]
        flat = [window for part in parts for window, _ in part]
        order = sorted(range(len(flat)), key=lambda index: len(flat[index]))  # alike lengths together: less padding
        found: dict[int, np.ndarray[Any, Any]] = {}
        for at in range(0, len(order), _BATCH_WINDOWS):
            yield b""
            batch = order[at : at + _BATCH_WINDOWS]
            found.update(zip(batch, self._encode([flat[index] for index in batch], lot.purpose), strict=True))
        index = 0
        for part, tokens in counted:
            weights = [pieces for _, pieces in part]
            yield encode(Embedded(_mean([found[index + offset] for offset in range(len(part))], weights), tokens))
            index += len(part)

    def _encode(self, texts: list[str], purpose: str) -> Any:
        return self._model.encode(
            texts,
            prompt_name=self._prompt_name(purpose),
            batch_size=_BATCH_WINDOWS,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )

    def _prompt_name(self, purpose: str) -> str | None:
        """Return the model's own name for the purpose: models such as E5 want a prefix for each."""
        prompts = self._model.prompts or {}
        names = ("query",) if purpose == "query" else ("passage", "document")
        return next((name for name in names if prompts.get(name)), None)

    def _windows(self, text: str, purpose: str) -> tuple[list[tuple[str, int]], int]:
        """Return the windows of `text` with the number of word pieces of each, and how many the whole text has."""
        tokenizer = self._model.tokenizer
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        prompt = (self._model.prompts or {}).get(self._prompt_name(purpose) or "", "")
        room = self._window_pieces - tokenizer.num_special_tokens_to_add() - len(tokenizer.tokenize(prompt))
        offsets = [tuple(offset) for offset in encoding["offset_mapping"]]
        return windows(text, offsets, room), len(offsets)


def _mean(vectors: list[np.ndarray[Any, Any]], weights: list[int]) -> bytes:
    mean = np.average(np.stack(vectors), axis=0, weights=weights)
    length = float(np.linalg.norm(mean))
    return bytes((mean / (length or 1.0)).astype("<f4").tobytes())
