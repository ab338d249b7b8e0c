"""Defaults that go together: sizes of the networks, and what differs for one domain alone."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, int]] = {
    "tiny": {
        "fold": 2,
        "levels": 1,
        "width": 32,
        "blocks": 1,
        "bottleneck": 1,
        "content_channels": 8,
        "style_dim": 16,
    },
    "small": {
        "fold": 2,
        "levels": 2,
        "width": 48,
        "blocks": 2,
        "bottleneck": 2,
        "content_channels": 8,
        "style_dim": 32,
    },
    "base": {
        "fold": 4,
        "levels": 2,
        "width": 96,
        "blocks": 2,
        "bottleneck": 4,
        "content_channels": 8,
        "style_dim": 64,
    },
    "large": {
        "fold": 4,
        "levels": 3,
        "width": 96,
        "blocks": 3,
        "bottleneck": 4,
        "content_channels": 8,
        "style_dim": 64,
    },
}

# A plain image Soft-IntroVAE with the objective of the paper: style is the one latent z. Fakes are
# reconstructions and images decoded from the prior, encoded without augmentation and weighed by all
# of the energy; gamma_r is 0 for the paper's 1e-8, lost in float32. With R1, and with a beta_neg
# that fits the images, a long game does not end in broken strokes (docs/experiments.md).
ONE_DOMAIN: dict[str, dict[str, Any]] = {
    "model": {
        "content_channels": 0,
        "style_dim": 128,
        "style_dropout": 0.0,
        "align": False,
        "warp": 0.0,
    },
    "objective": {
        "rec": "mse",
        "beta_kl_s": 1.0,
        "beta_neg": "auto",
        "gamma_r1": 1.0,
        "beta_fake": 1.0,
        "beta_rec_neg": 1.0,
        "lambda_cyc": 0.0,
        "translation": False,
        "wrong_domain": False,
        "reconstruction": True,
        "prior": True,
    },
    "augment": {"content_share": 0.0, "game_share": 0.0, "energy_shift": 0.0, "energy_cutout": 0.0},
}

CHARACTERS = 1 * 32 * 32  # values of an image for which the objective's default weights were found
# Steps of training. Where translations keep detail: with more, they lose more of their input.
DETAIL_STEPS = 3000
IN_PLACE_STEPS = 6000  # where they do not
DETAIL_RIDGE = 0.001  # with 0.01 colour photographs cannot become gray
PIXEL_CHANNELS = 8  # features at full size of what is drawn anew, without which a grid shows
LAMBDA_LPIPS = 0.3  # an error that AlexNet sees, beside that of the values


def affordable(size: int) -> dict[str, int]:
    """Return sizes of a network that a CPU trains within hours, from 64 px on.

    It computes on squares of 16 to 32 px, whatever the size; `small`, `base` and `large` take 20,
    90 and 600 times as long as this at 64 px.

    Args:
        size: training size in pixels.
    """
    return {
        "fold": 2 if size < 64 else 4 if size < 128 else 8,
        "levels": 1,
        "width": 32,
        "content_channels": 16,
        "style_dim": 32,
    }


def in_place(
    size: int, channels: int, detail: bool, perceptual: bool = False
) -> dict[str, dict[str, Any]]:
    """Return what suits pictures whose things stay in their place, in colour and at real sizes.

    Divergences of the style do not grow with the image, and L_r does: their weights are in
    proportion to its values, so that the introspective phase is as strong as with characters.
    Measured at 64 px on six pairs of domains (docs/experiments.md).

    Args:
        size: training size in pixels, of squares.
        channels: 1 or 3.
        detail: whether translations keep the detail of their input (`model.detail`).
        perceptual: whether what is drawn anew is also asked to look alike to AlexNet
            (`objective.lambda_lpips`), whose weights the training then takes.
    """
    ratio = channels * size**2 / CHARACTERS
    made = {"detail_ridge": DETAIL_RIDGE} if detail else {"pixel_channels": PIXEL_CHANNELS}
    lpips = {"lambda_lpips": LAMBDA_LPIPS} if perceptual and not detail else {}
    return {
        "data": {"flip": 0.5},
        "model": {**affordable(size), "warp": 0.0, "align": False, "detail": detail, **made},
        "objective": {"beta_kl_s": 3.0 * ratio, "beta_fake": round(0.4 * ratio, 6), **lpips},
        "augment": {"content_share": 0.0, "game_share": 0.0, "energy_whole_pixels": True},
        "train": {"steps": DETAIL_STEPS if detail else IN_PLACE_STEPS},
    }


def one_domain_weights(channels: int) -> dict[str, dict[str, Any]]:
    """Return what suits images of one domain, where it differs from ONE_DOMAIN.

    In colour the error has the weight that the authors recommend for CIFAR-10, 1 of values in
    [0, 1], which is 1/4 of those in [-1, 1]. With more, photographs take so many nats to encode
    that images decoded from the prior are none, and a long game ends in noise. Measured at 32 px
    (docs/experiments.md).

    Args:
        channels: 1 or 3.
    """
    return {"objective": {"beta_rec": 0.25, "beta_rec_neg": 0.25}} if channels == 3 else {}


def things_and_views(size: int = 64) -> dict[str, dict[str, Any]]:
    """Return what takes pictures of things apart into a view and a thing, without labels.

    One folder of things that are seen from many sides in colours of their own. Content is a short
    vector, taken from pictures of any hue that are bent a little; style is what patches have,
    mirrored or not. In the introspective phase both are exchanged between the images of a batch.
    Measured on cars (docs/experiments.md).

    Args:
        size: training size in pixels, of squares; a multiple of 16.
    """
    ratio = 3 * size**2 / (3 * 64**2)  # divergences do not grow with the image, and L_r does
    return {
        "data": {"size": size},
        "model": {
            "content": "vector",
            "fold": 4,
            "levels": 1,
            "width": 32,
            "content_channels": 16,
            "style_dim": 32,
            "style_patch": 16,
        },
        "objective": {
            "rec": "l1",
            "lambda_lpips": LAMBDA_LPIPS,
            "beta_kl_c": ratio,
            "beta_kl_s": ratio,
            "beta_neg": "auto",
            "gamma_r1": 0.0,
            "beta_fake": ratio,
            "beta_rec_neg": 0.0,
            "lambda_c": 0.02,
            "lambda_s": 0.02,
            "cycle_grad": True,
            "translation": True,
            "exchange": True,
            "reconstruction": False,
            "prior": False,
        },
        "augment": {
            "content_share": 1.0,
            "game_share": 1.0,
            "content_hue": 1.0,
            "energy_flip": 0.5,
        },
        "train": {"steps": 2000, "warmup": 0.75, "cooldown": 0.4},
    }
