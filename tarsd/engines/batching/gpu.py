"""How many of a model's layers go to the GPU. In a worker only; `layers_that_fit` is pure.

Rules
1. Without GPU support in llama.cpp, or without a GPU, none.
2. "As many as fit": a layer takes its share of the weights and of the cells, and `SPARE_BYTES` stay free for what is
   computed and for the screen. Where a driver does not tell its free memory, all: llama.cpp then says if that fails.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp

from tarsd.wire import MIB

ALL = -1
AS_MANY_AS_FIT = -2
SPARE_BYTES = 512 * MIB
_KINDS_OF_GPU = (1, 2)  # ggml.h: GGML_BACKEND_DEVICE_TYPE_GPU, …_IGPU
_CELL_BYTES = 4  # two values (K and V) of 16 bits


def gpu_layers(wanted: int, path: Path, cells: int) -> int:
    """Return the number for llama.cpp: `ALL`, or so many; `wanted` may be `AS_MANY_AS_FIT`."""
    if wanted == 0 or not llama_cpp.llama_supports_gpu_offload():
        return 0
    if wanted != AS_MANY_AS_FIT:
        return wanted
    free = free_gpu_bytes()
    if free is None:
        return ALL
    layers, cell_bytes = _of_model(path)
    return layers_that_fit(free, path.stat().st_size, layers, cells * cell_bytes) if free else 0


def layers_that_fit(free_bytes: int, model_bytes: int, layers: int, cells_bytes: int) -> int:
    """Return how many layers fit into `free_bytes` (rule 2); `ALL` where the output layer fits as well."""
    each = (model_bytes + cells_bytes) / (layers + 1)
    fitting = int(max(0, free_bytes - SPARE_BYTES) / each)
    return ALL if fitting > layers else fitting


def free_gpu_bytes() -> int | None:
    """Return the free memory of all GPUs, 0 without one, None where that is not told."""
    try:
        from llama_cpp._ggml import libggml

        count, get, kind, memory = (
            getattr(libggml, f"ggml_backend_dev_{name}") for name in ("count", "get", "type", "memory")
        )
    except (ImportError, AttributeError):  # the bindings do not promise these
        return None
    count.restype = ctypes.c_size_t
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    kind.argtypes, kind.restype = [ctypes.c_void_p], ctypes.c_int
    memory.argtypes, memory.restype = [ctypes.c_void_p] * 3, None
    return _sum(count, get, kind, memory)


def _sum(count: Any, get: Any, kind: Any, memory: Any) -> int | None:
    total, has_gpu = 0, False
    for number in range(count()):
        device = get(number)
        if kind(device) in _KINDS_OF_GPU:
            has_gpu = True
            free, whole = ctypes.c_size_t(), ctypes.c_size_t()
            memory(device, ctypes.byref(free), ctypes.byref(whole))
            total += free.value
    return None if has_gpu and total == 0 else total


def _of_model(path: Path) -> tuple[int, int]:
    """Return layers and bytes of a cell, from the file's metadata alone."""
    chosen = llama_cpp.llama_model_default_params()
    chosen.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), chosen)
    if not model:
        return 1, 0  # loading it will tell why
    try:
        kind = _text(model, "general.architecture")
        layers = _number(model, f"{kind}.block_count", 1)
        heads = _number(model, f"{kind}.attention.head_count", 1)
        size = _number(model, f"{kind}.attention.key_length", _number(model, f"{kind}.embedding_length", 0) // heads)
        return layers, layers * size * _number(model, f"{kind}.attention.head_count_kv", heads) * _CELL_BYTES
    finally:
        llama_cpp.llama_model_free(model)


def _text(model: Any, key: str) -> str:
    buffer = ctypes.create_string_buffer(256)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, 256)
    return buffer.value.decode(errors="replace") if length >= 0 else ""


def _number(model: Any, key: str, otherwise: int) -> int:
    text = _text(model, key)
    return max(1, int(text)) if text.isdecimal() else otherwise
