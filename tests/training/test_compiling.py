"""torch.compile behind its switch: the same step (slow, compilers are), and a word where it cannot
be had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests._helpers.trainings import bars, run, settings, weights
from translate.runtime.device import choose_device
from translate.runtime.distributed import Processes
from translate.training.step import TrainStep
from translate.training.trainer import Trainer


def no_compiler(passes: Any, **options: Any) -> Any:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no compiler\nand more")

    return fail


def test_without_a_compiler_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    said: list[str] = []
    config = settings(train={"compile": True})
    Trainer(config, bars(config), tmp_path / "compiled", "cpu", say=said.append).run()
    assert "train.compile: not possible here (no compiler); training goes on without" in said
    run(settings(), tmp_path / "plain")
    plain = weights(tmp_path / "plain")
    assert all(
        torch.equal(value, plain[name]) for name, value in weights(tmp_path / "compiled").items()
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("beta_neg", [None, 64.0])
def test_compiled_gradients_are_those_of_the_plain_step(beta_neg: float | None) -> None:
    config = settings(model={"style_dropout": 0.0})  # compiled dropout draws other numbers
    learners = [TrainStep(config, Processes(choose_device("cpu"))) for _ in range(2)]
    x = torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8)
    said = list[str]()
    learners[1].compile(x, said.append)
    assert not said
    assert learners[1].compiled
    for train_step in learners:
        train_step.gradients(x, 3, beta_neg)
    names = [name for name, _ in learners[0].model.named_parameters()]
    assert names == [name for name, _ in learners[1].model.named_parameters()]
    for name, plain, compiled in zip(
        names, *(train_step.model.parameters() for train_step in learners), strict=True
    ):
        torch.testing.assert_close(compiled.grad, plain.grad, rtol=1e-3, atol=1e-5, msg=name)
