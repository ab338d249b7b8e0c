"""Training goes on, or ends with a reason: divergence, logs that were cut off, a full disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests._helpers.trainings import bars, logged, run, settings, weights
from translate.io.files import DiskFullError
from translate.training.run_logger import RunLogger
from translate.training.trainer import Trainer, TrainingDivergedError


def diverging(out: Path, times: int, **train: object) -> Trainer:
    """Make a trainer whose gradients are not finite at its sixth step, the first `times` times."""
    config = settings(train=train)
    trainer = Trainer(config, bars(config), out, "cpu")
    plain = trainer.train_step.gradients
    visits = 0

    def gradients(x: torch.Tensor, step: int, beta_neg: float | None) -> dict[str, torch.Tensor]:
        nonlocal visits
        terms = plain(x, step, beta_neg)
        visits += step == 5
        if step == 5 and visits <= times:
            for parameter in trainer.train_step.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(float("nan"))
        return terms

    trainer.train_step.gradients = gradients  # type: ignore[method-assign]
    return trainer


def stats(out: Path) -> list[dict[str, float]]:
    """Read the lines of a run's stats.jsonl."""
    return [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("times", [1, 3])
def test_a_diverged_run_goes_back_with_half_the_learning_rate(tmp_path: Path, times: int) -> None:
    trainer = diverging(tmp_path, times)
    with logged() as messages:
        assert trainer.run()["rollbacks"] == times
    back = [line for line in messages if "not finite" in line]
    assert len(back) == times
    assert all("step 6" in line and "step 4" in line for line in back)
    assert all(value.isfinite().all() for value in weights(tmp_path).values())

    run(settings(), tmp_path / "plain")
    plain = [line["learning_rate"] for line in stats(tmp_path / "plain")]
    assert [line["step"] for line in stats(tmp_path)] == [2, 4, 6, 8]
    rates = [line["learning_rate"] for line in stats(tmp_path)]
    assert rates == [*plain[:2], *(rate / 2**times for rate in plain[2:])]


def test_a_run_that_keeps_diverging_ends_with_the_remedy_and_a_good_state(tmp_path: Path) -> None:
    trainer = diverging(tmp_path, 4)
    with pytest.raises(TrainingDivergedError, match=r"step 6: .*lower train\.learning_rate"):
        trainer.run()
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
    assert run(settings(), tmp_path, resume=True).state.step == 8


def test_a_gpu_is_asked_at_the_end_too(tmp_path: Path) -> None:
    trainer = diverging(tmp_path, 1, log_every=100, checkpoint_every=100, steps=6)
    trainer.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    with logged() as messages:
        assert trainer.run()["rollbacks"] == 1
    assert any("step 6" in line and "step 0" in line for line in messages)
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


def test_weights_that_are_not_finite_from_the_start_end_the_run(tmp_path: Path) -> None:
    trainer = Trainer(settings(), bars(settings()), tmp_path, "cpu")
    with torch.no_grad():
        next(trainer.train_step.model.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="step 1: "):
        trainer.run()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("text", ['{"step": 5, "se', "", "{}\n", '{"step": 5}\n{"step": 99}\n'])
def test_logs_that_were_cut_off_are_repaired(tmp_path: Path, text: str) -> None:
    (tmp_path / "stats.jsonl").write_text('{"step": 2}\n{"step": 4}\n' + text)
    RunLogger(tmp_path).truncate_after(4)
    assert (tmp_path / "stats.jsonl").read_text() == '{"step": 2}\n{"step": 4}\n'


def test_a_log_s_last_line_gets_its_end_back(tmp_path: Path) -> None:
    (tmp_path / "stats.jsonl").write_text('{"step": 2}\n{"step": 4}')
    RunLogger(tmp_path).truncate_after(4)
    assert (tmp_path / "stats.jsonl").read_text() == '{"step": 2}\n{"step": 4}\n'


def test_a_full_disk_ends_with_the_remedy_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        trainer = Trainer(settings(), bars(settings()), tmp_path / "parts", "cpu")
        write = Path.write_bytes

        def full(path: Path, data: bytes) -> int:
            if trainer.state.step == 6:
                write(path, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(path, data)

        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DiskFullError, match="parts: .*--resume"):
            trainer.run()
    assert not list(tmp_path.rglob("*.part"))
    run(settings(), tmp_path / "parts", resume=True)
    whole = weights(tmp_path / "whole")
    parts = weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
