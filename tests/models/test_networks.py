"""Networks: shapes, independence of samples, start-up, any size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from translate.config import Config, ConfigError, from_dict
from translate.models.layers import Block, Warp
from translate.models.networks import Model
from translate.presets import PRESETS


def tiny(channels: int = 1, **model: object) -> Model:
    torch.manual_seed(0)
    return Model(
        from_dict({"data": {"size": 16, "channels": channels}, "model": {"width": 8, **model}})
    ).eval()


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_keeps_sizes_and_ranges(preset: str, channels: int) -> None:
    config = from_dict(
        {"data": {"size": 64, "channels": channels}, "model": {"preset": preset, "width": 8}}
    )
    model = Model(config)
    stride = config.model.stride
    x = torch.rand(2, channels, 64, 64 + stride) * 2 - 1
    y = torch.tensor([0, 1])
    q_c = model.encoder.content(x, y)
    q_s = model.encoder.style(x, y)
    assert q_c.mu.shape == (
        2,
        config.model.content_channels,
        64 // config.model.fold,
        (64 + stride) // config.model.fold,
    )
    assert q_s.mu.shape == q_s.logvar.shape == (2, config.model.style_dim)
    again = model.decoder(q_c.mu, q_s.mu, y, y)
    assert again.shape == x.shape
    assert again.abs().max() <= 1


def test_samples_of_a_batch_do_not_touch_each_other() -> None:
    model = tiny()
    x = torch.rand(4, 1, 16, 16) * 2 - 1
    y = torch.tensor([0, 1, 1, 0])
    with torch.no_grad():
        together = model.decoder(model.encoder.content(x, y).mu, model.encoder.style(x, y).mu, y, y)
        alone = [
            model.decoder(model.encoder.content(i, j).mu, model.encoder.style(i, j).mu, j, j)
            for i, j in zip(x.split(1), y.split(1), strict=True)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_domain_and_style_matter() -> None:
    model = tiny()
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        a = model.encoder.style(x, torch.tensor([0, 0]))
        b = model.encoder.style(x, torch.tensor([1, 1]))
        assert not torch.allclose(a.mu, b.mu)
        mean = model.translate(x, 0, 1)
        random = model.translate(x, 0, 1, torch.randn(2, model.style_dim) * 3)
    assert not torch.allclose(mean, random)


def test_blocks_resample() -> None:
    x = torch.randn(2, 8, 6, 6)
    condition = torch.randn(2, 4)
    assert Block(8, 16, 4, 0.5)(x, condition).shape == (2, 16, 3, 3)
    assert Block(8, 16, 4, 2.0)(x, condition).shape == (2, 16, 12, 12)


def test_a_fresh_decoder_shows_no_checkerboard() -> None:
    """The four sub-pixels of a folded pixel start equal, whatever the content."""
    model = tiny()
    with torch.no_grad():
        image = model.decoder(
            torch.randn(2, 8, 4, 4), torch.zeros(2, 16), *2 * [torch.tensor([0, 1])]
        )
    cells = torch.nn.functional.pixel_unshuffle(image, 2)
    torch.testing.assert_close(cells, cells[:, :1].expand_as(cells))


@pytest.mark.parametrize("pixel_channels", [0, 6])
def test_pixels_are_made_across_the_borders_of_what_was_folded(pixel_channels: int) -> None:
    """A change of one folded feature reaches pixels of its own cell alone, or one pixel farther."""
    model = tiny(preset="base", pixel_channels=pixel_channels)
    decoder = model.decoder
    h = torch.randn(1, decoder.last.out_channels, 4, 4)
    changed = h.clone()
    changed[:, :, 1, 1] += 1.0

    def pixels(values: torch.Tensor) -> torch.Tensor:
        decoder.last.forward = lambda _: values  # type: ignore[method-assign]
        with torch.no_grad():
            return decoder(torch.randn(1, 8, 4, 4), torch.zeros(1, 64), *2 * [torch.tensor([0])])

    rows, columns = (pixels(h) != pixels(changed))[0, 0].nonzero().unbind(1)
    reach = 1 if pixel_channels else 0
    assert (rows.min(), rows.max()) == (4 - reach, 7 + reach)
    assert (columns.min(), columns.max()) == (4 - reach, 7 + reach)


def test_a_warp_starts_as_the_identity_and_moves_by_pixels() -> None:
    h = torch.randn(2, 8, 6, 10)
    warp = Warp(8, 4, max_displacement=2.5)
    flow = warp(h, torch.randn(2, 4))
    assert flow.shape == (2, 2, 6, 10)
    assert flow.abs().max() == 0
    stay = torch.eye(2, 3).repeat(2, 1, 1)
    torch.testing.assert_close(Warp.warp(h, flow, stay), h, atol=1e-5, rtol=1e-5)
    right = torch.zeros(2, 2, 3, 5)
    right[:, 0] = 0.5  # pixels of the flow's map, which is half as large
    torch.testing.assert_close(
        Warp.warp(h, right, stay)[..., :-1], h[..., 1:], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        Warp.warp(h, right.flip(1), stay)[..., :-1, :], h[..., 1:, :], atol=1e-5, rtol=1e-5
    )
    down = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1 / 6]]).repeat(2, 1, 1)  # a sixth of six rows
    torch.testing.assert_close(
        Warp.warp(h, right, down)[..., :-1, :-1], h[..., 1:, 1:], atol=1e-5, rtol=1e-5
    )
    image = torch.randn(2, 3, 12, 20)
    cells = F.pixel_unshuffle(image, 2)
    one_pixel = torch.tensor([[1.0, 0.0, 1 / 20], [0.0, 1.0, 1 / 12]]).repeat(2, 1, 1)
    moved = F.pixel_shuffle(Warp.warp_subpixel(cells, torch.zeros_like(right), one_pixel), 2)
    torch.testing.assert_close(moved[..., :-1, :-1], image[..., 1:, 1:], atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        warp.flow.bias.fill_(1e3)
    assert warp(h, torch.randn(2, 4)).unique().tolist() == [2.5]
    # 0.3 of half of 32 px, where a pixel of the map is four of the image
    model = Model(from_dict({}))
    assert model.decoder.trunk.warp.max_displacement == pytest.approx(0.3 * 16 / 4)  # type: ignore[union-attr]
    assert model.encoder.content_trunk.warp is None
    assert model.encoder.style_trunk.warp is None


def test_a_translation_starts_at_the_place_of_the_other_domain() -> None:
    model = tiny().eval()
    x = torch.rand(1, 1, 16, 16)
    y = torch.tensor([0])
    z_c = model.encoder.content(x, y).mu
    z_s = torch.zeros(1, 16)
    plain = model.decoder(z_c, z_s, 1 - y, y)
    assert torch.equal(plain, model.decoder(z_c, z_s, 1 - y, 1 - y)), (
        "affines are alike until they are set from the data"
    )
    model.decoder.domain_affine[0, :, 2] += 0.25
    assert torch.equal(plain, model.decoder(z_c, z_s, 1 - y, 1 - y)), (
        "nothing moves within a domain"
    )
    moved = model.decoder(z_c, z_s, 1 - y, y)
    assert not torch.allclose(plain, moved)


def test_style_features_are_dropped_in_training_alone() -> None:
    model = tiny(style_dropout=0.5)
    x = torch.rand(4, 1, 16, 16)
    y = torch.tensor([0, 0, 1, 1])
    model.train()
    assert not torch.equal(model.encoder.style(x, y).mu, model.encoder.style(x, y).mu)
    assert torch.equal(model.encoder.content(x, y).mu, model.encoder.content(x, y).mu)
    model.eval()
    assert torch.equal(model.encoder.style(x, y).mu, model.encoder.style(x, y).mu)


def with_vector(**changes: Any) -> Config:
    model = {"content": "vector", "content_channels": 5, "style_dim": 4, "condition": 8, **changes}
    sizes = {"width": 8, "fold": 2, "levels": 1}
    return from_dict(
        {"data": {"size": 16, "domains": {"things": "x"}}, "model": {**sizes, **model}}
    )


def test_content_may_be_a_vector() -> None:
    config = with_vector()
    model = Model(config)
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    content = model.encode_content(x, 0)
    assert content.mu.shape == content.logvar.shape == (3, 5)
    assert config.model.content_shape(16) == (5,)
    assert content.kl().shape == (3,)
    images = model.decode(content.sample(), model.encode_style(x, 0).mu, 0, 0)
    assert images.shape == x.shape
    images.square().mean().backward()
    for part in (model.encoder.content_head, model.encoder.style_head, model.decoder.canvas):
        assert part is not None
        for parameter in part.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert parameter.grad.any()


@pytest.mark.parametrize("patch", [0, 8])
def test_images_with_vectors_do_not_touch_each_other(patch: int) -> None:
    model = Model(with_vector(style_patch=patch)).eval()
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        together = model.reconstruct(x, 0)
        alone = torch.cat([model.reconstruct(image, 0) for image in x.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_style_of_patches_does_not_know_their_places() -> None:
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    patches = [x[:, :, i : i + 8, j : j + 8] for i in (0, 8) for j in (0, 8)]
    a, b, c, d = patches
    moved = torch.cat([torch.cat([d, a], 3), torch.cat([b, c], 3)], 2)
    by_patches = Model(with_vector(style_patch=8)).eval()
    whole = Model(with_vector()).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            by_patches.encode_style(moved, 0).mu, by_patches.encode_style(x, 0).mu
        )
        difference = whole.encode_style(moved, 0).mu - whole.encode_style(x, 0).mu
    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize("patch", [3, 6, 12, 32])
def test_patches_have_to_fit(patch: int) -> None:
    with pytest.raises(ConfigError, match=r"model\.style_patch"):
        with_vector(style_patch=patch)
