"""Batch invariance: results do not depend on rows, batches, streams or threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests._helpers.small_model import SIDE, noise, save
from translate.inference.predictor import Predictor
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.io.images import UInt8
from translate.io.tensors import images_from_pixels
from translate.models.layers import BatchInvariantLinear


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_batch_invariant_layer_is_linear_and_independent_of_other_rows(
    translator: Translator,
) -> None:
    linear = nn.Linear(64, 256)
    x = torch.randn(32, 64)
    rows = BatchInvariantLinear(64, 256)
    rows.load_state_dict(linear.state_dict())
    torch.testing.assert_close(rows(x), linear(x), rtol=0, atol=1e-5)
    for order in (torch.randperm(32) for _ in range(8)):
        assert torch.equal(rows(x[order]), rows(x)[order])
    assert not any(type(module) is nn.Linear for module in translator.predictor.model.modules())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("width", range(SIDE, 4 * SIDE, 4))
def test_a_translation_does_not_depend_on_its_place_in_the_batch(
    tmp_path: Path, precision: str, width: int
) -> None:
    """Also where a batch's numbers do not fill whole vectors of the CPU."""
    predictor = Predictor.load(save(tmp_path), "cpu", PredictorOptions(precision))
    rows = predictor.batching().rows((SIDE, width))
    images = images_from_pixels(np.stack([noise(SIDE, width, 3, seed=i) for i in range(rows)]))
    z_s = torch.randn(1, rows, 4, generator=torch.Generator().manual_seed(0))
    together = predictor.forward(images, (0, 1), z_s).images
    for order in (torch.arange(rows).flip(0), torch.arange(rows).roll(rows // 2)):
        moved = predictor.forward(images[order], (0, 1), z_s[:, order]).images
        assert torch.equal(moved, together[:, order])


def test_bf16_is_close_to_float32(tmp_path: Path) -> None:
    path = save(tmp_path)
    image = noise(16, 24, 3)
    exact, rough = (
        Translator.load(path, "cpu", PredictorOptions(precision)).translate([image], "B")[0]
        for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(exact.astype(int) - rough.astype(int)).mean() < 8


@pytest.mark.parametrize("batch_size", [3, 16])
def test_a_stream_is_batch_invariant(tmp_path: Path, three_threads: None, batch_size: int) -> None:
    translator = Translator.load(save(tmp_path, size=32, width=32, condition=64), "cpu")
    items = [(i, noise(32, width, 3, seed=i)) for i in range(20) for width in (32, 36, 128)]

    def z_s(i: int) -> torch.Tensor:
        return torch.randn(2, 4, generator=torch.Generator().manual_seed(i))

    def stream(items: list[tuple[int, UInt8]]) -> dict[tuple[int, int], bytes]:
        results = {}
        stream = translator.predictor.predict_stream(items, (0, 1), z_s, batch_size)
        for i, prediction in stream:
            y = prediction.pixels
            assert not isinstance(y, Exception)
            assert not prediction.complaints
            assert y.shape[::3] == (2, 3)
            results[i, y.shape[2]] = y.tobytes()
        return results

    together = stream(items)
    assert len(together) == len(items)
    assert stream(items[::-1]) == together
    for i, pixels in items[::7]:
        ((key, alone),) = stream([(i, pixels)]).items()
        assert together[key] == alone
    # a new thread, as what the process does next may be elsewhere
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3


def test_a_failing_batch_yields_its_error_and_the_stream_goes_on(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Predictor.forward

    def fails(self: Predictor, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        if x.shape[3] > SIDE:
            raise RuntimeError("out of memory")
        return forward(self, x, *rest)

    monkeypatch.setattr(Predictor, "forward", fails)
    items = [(i, noise(SIDE, SIDE * (1 + i % 2), 3)) for i in range(6)]
    results = {
        i: y
        for i, (y, *_) in translator.predictor.predict_stream(
            items, (0, 1), lambda i: torch.zeros(1, 4), 2
        )
    }
    assert [isinstance(results[i], RuntimeError) for i in range(6)] == [False, True] * 3
