"""torch.compile behind its switch: the same step (slow), and a message where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests._helpers.trainings import bars, logged, run, settings, weights
from translate.runtime.device import choose_device
from translate.runtime.distributed import Processes
from translate.training.step import TrainStep
from translate.training.trainer import Trainer


def no_compiler(passes: Any, **options: Any) -> Any:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no compiler\nand more")

    return fail


def test_without_a_compiler_training_goes_on_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    config = settings(train={"compile": True})
    with logged() as messages:
        Trainer(config, bars(config), tmp_path / "compiled", "cpu").run()
    assert any("train.compile: " in line and "(no compiler)" in line for line in messages)
    run(settings(), tmp_path / "plain")
    compiled = weights(tmp_path / "compiled")
    plain = weights(tmp_path / "plain")
    assert all(torch.equal(compiled[name], plain[name]) for name in plain)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("beta_neg", [None, 64.0])
def test_compiled_gradients_are_those_of_the_plain_step(beta_neg: float | None) -> None:
    # compiled dropout draws other numbers
    config = settings(model={"style_dropout": 0.0}, objective={"gamma_r1": 1.0})
    plain, compiled = (TrainStep(config, Processes(choose_device("cpu"))) for _ in range(2))
    x = torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8)
    with logged() as messages:
        compiled.compile(x)
    assert not messages
    assert compiled.compiled
    plain.gradients(x, 3, beta_neg)
    compiled.gradients(x, 3, beta_neg)
    expected = {name: p.grad for name, p in plain.model.named_parameters()}
    found = {name: p.grad for name, p in compiled.model.named_parameters()}
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5, msg=name)
