"""Detail that the autoencoder loses, and colour maps: closed forms and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests._helpers.small_model import SIDE, save
from translate.models.checkpoint import load_model
from translate.models.detail import ColourMaps, clipped, fit_colour_maps, share_not_carried


def textures(n: int, channels: int = 3, seed: int = 0) -> Tensor:
    """Smooth images (n, C, 24, 32) in [-1, 1]."""
    noise = torch.randn(n, channels, 24, 32, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, 1, 1).clamp(-1, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_no_change_gives_the_identity(channels: int) -> None:
    r = textures(2, channels)
    maps = fit_colour_maps(r, r, 0.01)
    x = textures(2, channels, seed=1)
    torch.testing.assert_close(maps.apply(x), x, rtol=0, atol=1e-5)
    assert share_not_carried(maps, r, r).max() < 1e-3


def test_a_global_change_of_colour_is_found() -> None:
    r = textures(2) * 0.5
    matrix = torch.tensor([[0.8, 0.1, 0.0], [0.0, 1.1, 0.2], [-0.3, 0.0, 0.9]])
    offset = torch.tensor([0.1, -0.2, 0.05])
    t = torch.einsum("ij,bjhw->bihw", matrix, r) + offset[:, None, None]
    maps = fit_colour_maps(r, t, ridge=1e-6)
    torch.testing.assert_close(maps.apply(r), t, rtol=0, atol=1e-3)
    torch.testing.assert_close(maps.matrices[0, :, :, 12, 16], matrix, rtol=0, atol=1e-2)
    assert share_not_carried(maps, r, t).max() < 1e-3


def test_with_less_ridge_faint_colours_can_go() -> None:
    """Pictures in pale colours, mapped to their own gray."""
    r = textures(2) * 0.3
    t = r.mean(1, keepdim=True).expand_as(r)

    def colours_left(ridge: float) -> float:
        made = fit_colour_maps(r, t, ridge).apply(r)
        return float((made - made.mean(1, keepdim=True)).square().mean().sqrt())

    assert colours_left(0.001) < 0.3 * colours_left(0.01)


def test_a_window_is_a_ridge_regression() -> None:
    """Solved with numpy's least squares for the one window of a 3 x 3 image."""
    r = textures(1)[:, :, :3, :3]
    t = textures(1, seed=1)[:, :, :3, :3]
    maps = fit_colour_maps(r, t, ridge=0.1, radius=2, subsample=1)
    a = r[0].flatten(1).T.double().numpy()
    b = t[0].flatten(1).T.double().numpy()
    # rows that ask for M = I, as strong as the mean over 9 pixels
    penalty = np.sqrt(9 * 0.1) * np.eye(3)
    rows = np.block([[a, np.ones((9, 1))], [penalty, np.zeros((3, 1))]])
    solution = np.linalg.lstsq(rows, np.concatenate([b, penalty]), rcond=None)[0]
    found = maps.matrices[0, :, :, 1, 1].double().numpy()
    np.testing.assert_allclose(found, solution[:3].T, atol=1e-5)
    np.testing.assert_allclose(maps.offsets[0, :, 1, 1].double().numpy(), solution[3], atol=1e-5)


def test_moved_shapes_cannot_be_carried() -> None:
    r = -torch.ones(1, 1, 32, 32)
    t = r.clone()
    r[..., 4:8] = 1
    t[..., 20:24] = 1
    assert share_not_carried(fit_colour_maps(r, t, 0.01), r, t).item() > 0.25


def test_an_invisible_change_counts_for_nothing() -> None:
    r = textures(1)
    t = r + 0.5 / 255 * textures(1, seed=3)
    maps = ColourMaps(torch.eye(3)[None, :, :, None, None].expand(1, 3, 3, 24, 32), r * 0)
    assert share_not_carried(maps, r, t).item() < 0.02


def test_clipping_lets_gradients_pass() -> None:
    t = torch.tensor([0.6, 1.3, -1.3], requires_grad=True)
    made = clipped(t)
    torch.testing.assert_close(made, torch.tensor([0.6, 1.0, -1.0]))
    made.sum().backward()
    assert t.grad is not None
    assert t.grad.tolist() == [1, 1, 1]


def test_a_model_that_keeps_detail_translates_by_its_maps(tmp_path: Path) -> None:
    model = load_model(save(tmp_path, detail=True, detail_ridge=0.002)).model
    x = textures(2)[:, :, :SIDE, :SIDE]
    z = torch.randn(2, model.style_dim)
    with torch.inference_mode():
        content = model.encode_content(x, 0).mu
        t = model.decode(content, z, 0, 1)
        r = model.decode(content, model.encode_style(x, 0).mu, 0, 0)
        wanted = fit_colour_maps(r, t, 0.002).apply(x).clamp(-1, 1)
        torch.testing.assert_close(model.translate(x, 0, 1, z), wanted)
        torch.testing.assert_close(model.reconstruct(x, 0), r)
