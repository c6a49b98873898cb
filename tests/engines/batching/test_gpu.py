from __future__ import annotations

import pytest

from tarsd.engines import bundled
from tarsd.wire import MIB

pytestmark = pytest.mark.model


def test_as_many_layers_as_fit_beside_what_stays_free() -> None:
    from tarsd.engines.batching.gpu import ALL, SPARE_BYTES, layers_that_fit

    model, cells, layers = 3000 * MIB, 300 * MIB, 32  # 100 MiB a layer
    assert layers_that_fit(SPARE_BYTES, model, layers, cells) == 0
    assert layers_that_fit(SPARE_BYTES + 1000 * MIB, model, layers, cells) == 10
    assert layers_that_fit(SPARE_BYTES + 3250 * MIB, model, layers, cells) == 32
    assert layers_that_fit(SPARE_BYTES + 3300 * MIB, model, layers, cells) == ALL
    assert layers_that_fit(0, model, layers, cells) == 0


def test_a_models_layers_and_cells_are_read_from_its_file() -> None:
    from tarsd.engines.batching.gpu import _of_model

    assert _of_model(bundled.chat_gguf()) == (30, 30 * 64 * 3 * 4)


def test_without_a_gpu_everything_stays_in_main_memory() -> None:
    from tarsd.engines.batching.gpu import AS_MANY_AS_FIT, free_gpu_bytes, gpu_layers

    if free_gpu_bytes():
        pytest.skip("this PC has a GPU that llama.cpp knows")
    assert gpu_layers(AS_MANY_AS_FIT, bundled.chat_gguf(), 8192) == 0
