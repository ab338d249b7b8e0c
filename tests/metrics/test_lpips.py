"""LPIPS against its project's example and an independent scorer; weights missing or wrong."""

from __future__ import annotations

import hashlib
import importlib.util
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tests._helpers.folders import noise as images
from translate.metrics.distribution import kernel_distance, scaled
from translate.metrics.image import l1, ssim
from translate.metrics.lpips import ENVIRONMENT, Perceptual, WeightsUnavailableError

SHARED = Path(__file__).resolve().parents[3] / "shared"
SQUEEZE_URL = "squeezenet1_1-b8a52dc0.pth"


def in_shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture(scope="module")
def alex(lpips_weights: Path) -> Perceptual:
    return Perceptual.load("alex", lpips_weights)


@pytest.fixture
def reference(tmp_path: Path) -> Callable[[Tensor, Tensor, str], dict[str, float]]:
    """`shared/score.py`, imported by path and fed with PNG files, on one network only."""
    spec = importlib.util.spec_from_file_location("score", in_shared("score.py"))
    assert spec
    assert spec.loader
    score: Any = importlib.util.module_from_spec(spec)

    def run(x: Tensor, y: Tensor, net: str) -> dict[str, float]:
        for name, stack in (("out", x), ("truth", y)):
            (tmp_path / name).mkdir()
            for i, image in enumerate(stack):
                Image.fromarray(image.numpy()).save(tmp_path / name / f"{i:03}.png")
        with warnings.catch_warnings():  # score.py silences all warnings for good, as a script may
            spec.loader.exec_module(score)  # type: ignore[union-attr]
            load = score.lpips_net
            score.lpips_net = lambda _, folder: load(net, folder)
            result: dict[str, float] = score.score(
                tmp_path / "out", tmp_path / "truth", in_shared("weights")
            )
        return result

    return run


@pytest.fixture(scope="module")
def squeeze_state() -> dict[str, Tensor]:
    """What torchvision's download of SqueezeNet 1.1 contains, but for the values."""
    from torchvision.models import squeezenet1_1  # type: ignore[import-untyped]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state: dict[str, Tensor] = squeezenet1_1(weights=None).state_dict()
    return {name: torch.rand(tensor.shape) - 0.5 for name, tensor in state.items()}


# -- LPIPS


def test_lpips_of_the_projects_example(alex: Perceptual) -> None:
    folder = in_shared("data", "lpips_example")
    ref, p0, p1 = (
        torch.from_numpy(np.array(Image.open(folder / f"ex_{name}.png").convert("RGB")))[None]
        for name in ("ref", "p0", "p1")
    )
    found = alex.distance(torch.cat([ref, ref, ref]), torch.cat([p0, p1, ref])).tolist()
    # the README of richzhang/PerceptualSimilarity
    assert found[:2] == pytest.approx([0.722, 0.138], abs=5e-4)
    assert found[2] == 0


def test_lpips_agrees_with_a_plain_one(alex: Perceptual, lpips_weights: Path) -> None:
    """Zhang et al. 2018, equation 1, on torchvision's AlexNet, with the package's linear layers."""
    import lpips
    from torchvision.models import alexnet

    weights = safetensors.torch.load_file(lpips_weights)
    backbone = alexnet(weights=None).features
    backbone.load_state_dict(
        {name.removeprefix("features."): tensor for name, tensor in weights.items()}
    )
    file = Path(lpips.__file__).parent / "weights/v0.1/alex.pth"
    linear = torch.load(file, map_location="cpu", weights_only=True)
    mean, std = (
        torch.tensor(x)[:, None, None] for x in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450))
    )

    def layers(x: Tensor) -> list[Tensor]:
        z = (x.permute(0, 3, 1, 2) / 127.5 - 1 - mean) / std
        found = []
        for i, layer in enumerate(backbone):
            z = layer(z)
            found += [z / (z.norm(dim=1, keepdim=True) + 1e-10)] if i in (1, 4, 7, 9, 11) else []
        return found

    x = images(3, 70)
    y = images(3, 70, seed=1)
    with torch.no_grad():
        terms = [
            ((a - b) ** 2 * linear[f"lin{i}.model.1.weight"]).sum(1).mean((1, 2))
            for i, (a, b) in enumerate(zip(layers(x), layers(y), strict=True))
        ]
    torch.testing.assert_close(alex.distance(x, y), sum(terms), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("net", "side"), [("alex", 32), ("alex", 64), ("vgg", 32)])
def test_agreement_with_the_independent_scorer(
    net: Any, side: int, reference: Callable[..., dict[str, float]]
) -> None:
    # uniform noise: on images of low contrast the scorer's float32 SSIM is itself 1e-5 off
    rng = torch.Generator().manual_seed(0)
    x, y = (
        torch.randint(0, 256, (5, side, side, 3), generator=rng, dtype=torch.uint8)
        for _ in range(2)
    )
    theirs = reference(x, y, net)
    file = {"alex": "alexnet_features.safetensors", "vgg": "vgg16_features.safetensors"}[net]
    ours = Perceptual.load(net, in_shared("weights", file))
    assert ours.distance(x, y).mean().item() == pytest.approx(theirs[f"lpips_{net}"], abs=1e-5)
    assert ssim(x, y).mean().item() == pytest.approx(theirs["ssim"], abs=1e-5)
    assert l1(x, y).mean().item() == pytest.approx(theirs["l1"], abs=1e-5)
    assert kernel_distance(*scaled(ours.features(x), ours.features(y))) == pytest.approx(
        theirs["kd_alex_x1000"] / 1000, abs=1e-5
    )


def test_perceptual_results_do_not_depend_on_the_batch(alex: Perceptual) -> None:
    x = images(5)
    y = images(5, seed=1)
    for batch in (1, 2, 5):
        torch.testing.assert_close(
            alex.distance(x, y, batch), alex.distance(x, y), rtol=0, atol=1e-6
        )
        torch.testing.assert_close(alex.features(x, batch), alex.features(x), rtol=0, atol=1e-5)
    distance = alex.distance(x, y)
    features = alex.features(x)
    assert distance.shape == (5,)
    assert features.shape == (5, 256)
    assert not distance.requires_grad
    assert not features.requires_grad


def test_in_training_images_are_cut_by_parts_of_the_networks_grid(alex: Perceptual) -> None:
    """Each call is the distance of both without up to three rows and columns, any as likely."""
    x, y = images(2, 70), images(2, 70, seed=1)
    cuts = {
        (top, left): alex.distance(x[:, top:, left:], y[:, top:, left:])
        for top in range(4)
        for left in range(4)
    }
    seen = set()
    for seed in range(60):
        torch.manual_seed(seed)
        a, b = (z.permute(0, 3, 1, 2) / 127.5 - 1 for z in (x, y))
        found = alex.differentiable(a, b)
        (cut,) = [key for key, value in cuts.items() if torch.allclose(value, found, atol=1e-5)]
        seen.add(cut)
    assert len(seen) > 12


def test_in_training_half_precision_points_the_same_way(alex: Perceptual) -> None:
    x = images(4, 64).permute(0, 3, 1, 2) / 127.5 - 1
    found = {}
    for enabled in (False, True):
        y = (0.8 * x).requires_grad_()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            distance = alex.differentiable(x, y)
        assert distance.dtype == torch.float32
        (gradient,) = torch.autograd.grad(distance.sum(), y)
        found[enabled] = distance.detach(), gradient.flatten(1)

    (exact, exact_gradient), (half, half_gradient) = found.values()
    torch.testing.assert_close(half, exact, rtol=0.03, atol=0)
    assert F.cosine_similarity(exact_gradient, half_gradient).min() > 0.95


def test_grey_is_the_same_as_equal_channels(alex: Perceptual) -> None:
    x = images(2, channels=1)
    y = images(2, channels=1, seed=1)
    torch.testing.assert_close(
        alex.distance(x, y), alex.distance(x.repeat(1, 1, 1, 3), y.repeat(1, 1, 1, 3))
    )


def test_small_images_are_enlarged_and_keep_their_shape(alex: Perceptual) -> None:
    wide = images(2)[:, :16]
    tall = wide.transpose(1, 2)
    shapes: list[tuple[int, ...]] = []

    def note(_: object, inputs: tuple[Tensor, ...]) -> None:
        shapes.append(tuple(inputs[0].shape))

    hook = alex.module.register_forward_pre_hook(note)
    for x in (wide, tall, images(1, 70)):
        alex.distance(x, x)
    hook.remove()
    assert shapes == [(2, 3, 64, 128), (2, 3, 128, 64), (1, 3, 70, 70)]


def test_perceptual_refuses_what_is_no_image(alex: Perceptual) -> None:
    with pytest.raises(ValueError, match="torch.uint8"):
        alex.distance(images(2).float(), images(2).float())
    with pytest.raises(ValueError, match="one shape"):
        alex.distance(images(2), images(3))
    with pytest.raises(ValueError, match="torch.uint8"):
        alex.features(images(2).float())


# -- weights


def test_weights_by_argument_and_by_environment(
    lpips_weights: Path, alex: Perceptual, monkeypatch: pytest.MonkeyPatch, no_lpips_weights: None
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(lpips_weights))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    named = Perceptual.load()
    # building the network draws no random numbers
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(
        named.distance(images(2), images(2, seed=1)), alex.distance(images(2), images(2, seed=1))
    )
    assert (
        named.weights_sha256
        == alex.weights_sha256
        == hashlib.sha256(lpips_weights.read_bytes()).hexdigest()
    )
    assert named.net == "alex"
    assert named.version
    with pytest.raises(ValueError, match="vgg: features.0.weight") as refused:
        Perceptual.load("vgg")
    assert str(lpips_weights) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_do_not_fit_are_refused(
    squeeze_state: dict[str, Tensor], tmp_path: Path
) -> None:
    def refusal(name: str, content: bytes | dict[str, Tensor] | None) -> str:
        path = tmp_path / name
        if content is not None:
            as_bytes = content if isinstance(content, bytes) else safetensors.torch.save(content)
            path.write_bytes(as_bytes)
        with pytest.raises(ValueError, match=f"LPIPS weights .*{name}") as refused:
            Perceptual.load("squeeze", path)
        message = str(refused.value)
        assert "\n" not in message
        return message

    first = "features.0.weight"
    assert "cannot be read (No such file" in refusal("absent.safetensors", None)
    assert "not a safetensors file" in refusal("model.pth", b"\x80\x02pickle" * 9)
    assert "not a safetensors file" in refusal("empty", b"")
    assert "features.0.weight (64, 3, 3, 3) is missing, and 49 more" in refusal(
        "nothing.st", {"x": torch.ones(1)}
    )
    lacking = {
        name: tensor for name, tensor in squeeze_state.items() if name != "features.12.squeeze.bias"
    }
    assert refusal("lacking.st", lacking).endswith("features.12.squeeze.bias (64,) is missing")
    assert "is (96, 3, 7, 7), not (64, 3, 3, 3)" in refusal(
        "1_0.st", squeeze_state | {first: torch.ones(96, 3, 7, 7)}
    )
    assert "all zeros or not finite" in refusal(
        "zero.st", squeeze_state | {first: torch.zeros(64, 3, 3, 3)}
    )
    assert "all zeros or not finite" in refusal(
        "nan.st", squeeze_state | {first: torch.full((64, 3, 3, 3), torch.nan)}
    )


def test_missing_weights_name_the_remedy(no_lpips_weights: None) -> None:
    timeout = socket.getdefaulttimeout()
    with pytest.raises(WeightsUnavailableError) as missing:
        Perceptual.load("vgg")
    message = str(missing.value)
    assert all(
        text in message
        for text in ("vgg", "not known", "--lpips-weights FILE", f"{ENVIRONMENT}=FILE")
    )
    assert "\n" not in message
    assert socket.getdefaulttimeout() == timeout


def test_two_threads_leave_the_state_of_the_process_as_it_was(
    squeeze_state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thread ends while the second works, which must not restore what the first set."""
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))
    calls: list[int] = []

    def download(url: str, **_: object) -> dict[str, Tensor]:
        calls.append(len(calls))
        if len(calls) == 1:
            first_is_in.set()
            second_is_in.wait(1)  # in vain: the second has to wait
        else:
            second_is_in.set()
            first_is_out.wait(10)
        return squeeze_state

    def load_first() -> None:
        Perceptual.load("squeeze")
        first_is_out.set()

    def load_second() -> None:
        first_is_in.wait(10)  # else it might begin before the first has changed anything
        Perceptual.load("squeeze")

    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    before = (socket.getdefaulttimeout(), sys.stdout, list(warnings.filters))
    threads = [threading.Thread(target=load) for load in (load_first, load_second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 2
    assert (socket.getdefaulttimeout(), sys.stdout, list(warnings.filters)) == before


def test_torchvisions_weights_and_a_file_of_them_are_one(
    squeeze_state: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def download(url: str, **_: object) -> dict[str, Tensor]:
        assert url.endswith(SQUEEZE_URL)
        print("Downloading", url)
        return squeeze_state

    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    fetched = Perceptual.load("squeeze")
    assert capsys.readouterr().out == ""  # stdout is for results

    file = tmp_path / "squeeze.safetensors"
    features = {
        name: tensor for name, tensor in squeeze_state.items() if name.startswith("features.")
    }
    safetensors.torch.save_file(features, file)
    read = Perceptual.load("squeeze", file)
    assert read.weights_sha256 == fetched.weights_sha256
    assert torch.equal(
        read.distance(images(2), images(2, seed=1)), fetched.distance(images(2), images(2, seed=1))
    )

    safetensors.torch.save_file({name: tensor.half() for name, tensor in features.items()}, file)
    # fewer digits in the file, float32 arithmetic all the same
    half = Perceptual.load("squeeze", file)
    assert half.features(images(2)).dtype == torch.float32


def test_a_tensor_that_nothing_filled_is_found(
    squeeze_state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "squeeze.safetensors"
    safetensors.torch.save_file(squeeze_state, file)
    # lpips' linear layers
    monkeypatch.setattr(torch, "load", lambda *_, **__: {"another.name": torch.ones(1)})
    with pytest.raises(RuntimeError, match=r"left lin0.model.1.weight.* without weights"):
        Perceptual.load("squeeze", file)


def test_unknown_networks_are_refused(no_lpips_weights: None) -> None:
    with pytest.raises(ValueError, match=r"'resnet'.* alex, vgg, squeeze"):
        Perceptual.load("resnet")  # type: ignore[arg-type]
