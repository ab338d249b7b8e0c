"""Inception's features where its weights are on the disk: found, refused, used; no download."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as fidelity

from tests._helpers.folders import noise
from translate.evaluation.protocols import compare
from translate.io.files import sha256
from translate.metrics.distribution import SetDistance, kid
from translate.metrics.inception import ENVIRONMENT, Inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file like the published one but for its values, which are random."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"

    def keep(module: torch.nn.Module, _: Any) -> None:
        torch.save(torch.nn.Module.state_dict(module), path)

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", keep)
        fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    yield path
    path.unlink()


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("translate.metrics.inception.URL_INCEPTION_V3", fidelity.URL_INCEPTION_V3)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(
        fidelity, "load_state_dict_from_url", lambda *_, **__: pytest.fail("a download")
    )


def test_without_weights_there_is_no_network(tmp_path: Path) -> None:
    assert Inception.find() is None


def test_the_cache_and_the_environment(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(weights)
    found = Inception.find()
    assert found
    assert found.weights_sha256 == sha256(weights)
    cached.unlink()
    monkeypatch.setenv(ENVIRONMENT, str(weights))
    named = Inception.find()
    assert named
    gray = noise(3, channels=1)
    features = named.features(gray)
    assert features.shape == (3, 2048)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, found.features(gray.repeat(1, 1, 1, 3)))
    with pytest.raises(ValueError, match="torch.uint8"):
        named.features(gray.float())


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"conv": torch.ones(1)}, tmp_path / "other.pth")
    torch.save(Path("an object, not a tensor"), tmp_path / "object.pth")
    (tmp_path / "text.pth").write_text("text")
    for name in ("none.pth", "other.pth", "object.pth", "text.pth"):
        monkeypatch.setenv(ENVIRONMENT, str(tmp_path / name))
        with pytest.raises(ValueError, match=f"{name}: .*unset {ENVIRONMENT}") as refused:
            Inception.find()
        assert "\n" not in str(refused.value)


def test_kid_and_fid_keep_their_published_names_for_inception(
    weights: Path,
    tmp_path: Path,
    pictures: Callable[..., Path],
    no_lpips_weights: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(weights))
    distance = SetDistance(1.0, 0.5, 1.5, 2)
    # roots of 2048 x 2048: many seconds
    monkeypatch.setattr("translate.evaluation.evaluator.fid", lambda *_: distance)
    out, truth = (
        pictures(tmp_path / name, [f"{i}.png" for i in range(4)], seed=seed)
        for seed, name in enumerate("ab")
    )
    evaluation = compare(out, truth)
    metrics = evaluation.directions[0].metrics
    assert {"kid", "fid"} <= set(metrics)
    assert not any("_alex" in name for name in metrics)
    assert evaluation.inception_sha256 == sha256(weights)
    assert metrics["fid"].value == distance.value
    four = [
        torch.stack(
            [torch.from_numpy(pixels[what]) for pixels in evaluation.directions[0].shown.values()]
        )
        for what in ("translation", "truth")
    ]
    inception = Inception.find()
    assert inception
    expected = kid(*map(inception.features, four))
    assert metrics["kid"].value == pytest.approx(expected.value, rel=1e-6), (
        "not scaled: as published"
    )
