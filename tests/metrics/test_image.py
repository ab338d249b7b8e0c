"""L1 and SSIM against closed forms and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

from tests._helpers.folders import noise as images
from translate.metrics.image import check_images, l1, ssim


def test_l1_closed_forms() -> None:
    x = images(3)
    black = torch.zeros_like(x)
    white = torch.full_like(x, 255)
    assert l1(x, x).tolist() == [0, 0, 0]
    assert l1(black, white).tolist() == [1, 1, 1]
    assert torch.equal(l1(x, white), l1(white, x))
    # uint8 differences must not wrap round
    assert l1(x, x + 5).tolist() == pytest.approx([5 / 255] * 3, rel=1e-6)
    assert l1(x + 5, x).tolist() == pytest.approx([5 / 255] * 3, rel=1e-6)


def test_ssim_closed_forms() -> None:
    x = images(2)
    black = torch.zeros_like(x)
    white = torch.full_like(x, 255)
    assert ssim(x, x).tolist() == [1, 1]
    assert ssim(black, white).tolist() == pytest.approx(
        [1e-4 / (1 + 1e-4)] * 2, rel=1e-3
    )  # only the constants are left
    assert torch.equal(ssim(x, black), ssim(black, x))
    # flat and bright: only the luminance differs, to seven digits
    a = 250 / 255
    b = 249 / 255
    flat = ssim(torch.full_like(x, 250), torch.full_like(x, 249)).tolist()
    assert flat == pytest.approx([(2 * a * b + 1e-4) / (a * a + b * b + 1e-4)] * 2, abs=1e-7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [11, 48])
def test_ssim_agrees_with_scikit_image(channels: int, side: int) -> None:
    x = images(3, side, channels)
    y = images(3, side, channels, seed=1)
    y[2] = (x[2].int() + 9).to(torch.uint8)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    for ours, a, b in zip(ssim(x, y).tolist(), x.numpy() / 255, y.numpy() / 255, strict=True):
        _, full = structural_similarity(a.mean(2), b.mean(2), full=True, **wang)  # type: ignore[no-untyped-call]
        assert ours == pytest.approx(full[5 : side - 5, 5 : side - 5].mean(), abs=1e-6)


@given(st.integers(11, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_bounds_and_symmetry(side: int, channels: int, seed: int) -> None:
    x, y = (
        torch.from_numpy(
            np.random.default_rng([seed, i]).integers(0, 256, (2, side, side, channels), np.uint8)
        )
        for i in range(2)
    )
    for measure, lowest in ((l1, 0), (ssim, -1)):
        assert torch.equal(measure(x, y), measure(y, x))
        assert ((measure(x, y) >= lowest) & (measure(x, y) <= 1)).all()
    assert torch.equal(l1(x, y), l1(255 - x, 255 - y)), "negatives differ as much"


def test_batches_do_not_matter() -> None:
    x = images(70, 16)
    y = images(70, 16, seed=1)
    for measure in (l1, ssim):
        one_by_one = torch.cat([measure(x[i : i + 1], y[i : i + 1]) for i in range(70)])
        torch.testing.assert_close(measure(x, y), one_by_one, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        images(2).float() / 255,
        images(2).to(torch.int16),
        images(2)[0],
        images(2).permute(0, 3, 1, 2),
        torch.zeros(2, 32, 32, 4, dtype=torch.uint8),
        images(2)[:0],
        images(2).numpy(),
        None,
    ],
    ids=["float", "int16", "HWC", "NCHW", "RGBA", "empty", "numpy", "None"],
)
def test_what_is_no_image_is_refused(bad: Tensor) -> None:
    for arguments in ((bad, images(2)), (images(2), bad)):
        for measure in (l1, ssim, check_images):
            with pytest.raises(ValueError, match=r"torch.uint8 tensor \(N, H, W, C\).*, got ."):
                measure(*arguments)


def test_stacks_must_agree_and_ssim_needs_eleven_pixels() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 32, 32, 3\) and \(3, 32, 32, 3\)"):
        l1(images(2), images(3))
    with pytest.raises(ValueError, match="one shape"):
        ssim(images(2), images(2, channels=1))
    with pytest.raises(ValueError, match="at least 11 px a side, got 10 x 32"):
        ssim(images(2)[:, :10], images(2)[:, :10])
