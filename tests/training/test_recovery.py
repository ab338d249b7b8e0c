"""Training goes on, or says why it cannot: divergence, logs that were cut off, a full disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests._helpers.trainings import bars, run, settings, weights
from translate.io.files import DiskFullError
from translate.losses.translation import Losses
from translate.training.run_logger import RunLogger
from translate.training.trainer import Trainer, TrainingDivergedError


def diverging(out: Path, times: int, **train: object) -> tuple[Trainer, list[str]]:
    """A trainer whose gradients are not finite at its sixth step, the first `times` times that it
    comes there.
    """
    said: list[str] = []
    config = settings(train=train)
    trainer = Trainer(config, bars(config), out, "cpu", say=said.append)
    plain = trainer.train_step._losses
    visits = 0

    def losses(x: torch.Tensor, beta_neg: float | None) -> Losses:
        nonlocal visits
        visits += trainer.state.step == 5
        bad = trainer.state.step == 5 and visits <= times
        made = plain(x, beta_neg)
        return made._replace(shared=made.shared * float("nan")) if bad else made

    trainer.train_step._losses = losses  # type: ignore[method-assign]
    return trainer, said


@pytest.mark.parametrize("times", [1, 3])
def test_a_diverged_run_goes_back_with_half_the_learning_rate(tmp_path: Path, times: int) -> None:
    trainer, said = diverging(tmp_path, times)
    assert trainer.run()["rollbacks"] == times
    back = [text for text in said if "not finite" in text]
    assert len(back) == times
    assert all("step 6: " in text and "back to step 4 " in text for text in back)
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    plain = run(settings(), tmp_path / "plain")
    usual = [
        json.loads(line)["learning_rate"]
        for line in (tmp_path / "plain" / "stats.jsonl").read_text().splitlines()
    ]
    assert [line["learning_rate"] for line in lines] == [
        *usual[:2],
        *(rate / 2**times for rate in usual[2:]),
    ]
    assert trainer.state.step == plain.state.step == 8


def test_a_run_that_keeps_diverging_ends_with_the_remedy_and_a_good_state(tmp_path: Path) -> None:
    trainer, _ = diverging(tmp_path, 4)
    with pytest.raises(
        TrainingDivergedError,
        match=r"step 6: .* 3 times half the learning rate; lower train.learning_rate",
    ):
        trainer.run()
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
    assert run(settings(), tmp_path, resume=True).state.step == 8


def test_a_gpu_is_asked_at_the_end_too(tmp_path: Path) -> None:
    trainer, said = diverging(tmp_path, 1, log_every=100, checkpoint_every=100, steps=6)
    trainer.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    trainer._measure_reference = lambda: None  # type: ignore[method-assign]
    assert trainer.run()["rollbacks"] == 1
    assert any("step 6: " in text and "back to step 0 " in text for text in said)
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


def test_weights_that_are_not_finite_from_the_start_are_told(tmp_path: Path) -> None:
    trainer = Trainer(settings(), bars(settings()), tmp_path, "cpu", say=lambda text: None)
    with torch.no_grad():
        next(trainer.train_step.model.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="step 1: "):
        trainer.run()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("text", ['{"step": 5, "se', "", "{}\n", '{"step": 5}\n{"step": 99}\n'])
def test_logs_that_were_cut_off_are_mended(tmp_path: Path, text: str) -> None:
    (tmp_path / "stats.jsonl").write_text('{"step": 2}\n{"step": 4}\n' + text)
    RunLogger(tmp_path).truncate_after(4)
    assert (tmp_path / "stats.jsonl").read_text() == '{"step": 2}\n{"step": 4}\n'


def test_a_full_disk_ends_with_the_remedy_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        trainer = Trainer(
            settings(), bars(settings()), tmp_path / "parts", "cpu", say=lambda text: None
        )
        write = Path.write_bytes

        def full(path: Path, data: bytes) -> int:
            if trainer.state.step == 6:
                write(path, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(path, data)

        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            DiskFullError, match="parts: no space left on device; make room, then --resume"
        ):
            trainer.run()
    assert not list(tmp_path.rglob("*.part"))
    run(settings(), tmp_path / "parts", resume=True)
    whole = weights(tmp_path / "whole")
    parts = weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
