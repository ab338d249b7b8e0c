"""LORD on a toy: with labels it learns which part of a picture is the thing and which the view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests._helpers.things import write_things
from translate.config import Config, from_dict
from translate.evaluation.exchange import exchange, load_views, read_views
from translate.evaluation.lord import Lord, LordOptions
from translate.io.images import UInt8
from translate.io.tensors import to_float

CPU = torch.device("cpu")


def config(**changes: Any) -> Config:
    model = {
        "content": "vector",
        "content_channels": 2,
        "style_dim": 4,
        "width": 16,
        "condition": 16,
        "fold": 4,
        "levels": 1,
        **changes,
    }
    return from_dict(
        {
            "data": {"size": 16, "domains": {"things": "."}},
            "model": model,
            "train": {"steps": 160, "batch_size": 16, "learning_rate": 3e-3},
        }
    )


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Config, UInt8, Tensor, Tensor]:
    """The config, pictures of five things from four sides, as images, and what each shows."""
    views = [view for view in read_views(write_things(tmp_path, elevations=(0,)))]
    views = [view for view in views if not view.held_out]
    names = sorted({view.thing for view in views})
    things = torch.tensor([names.index(view.thing) for view in views])
    loaded = config()
    pixels = load_views(views, loaded.data)
    return loaded, pixels, torch.from_numpy(pixels).movedim(-1, 1).contiguous(), things


def test_pictures_of_a_thing_get_one_style_and_are_drawn_again(toy: Any) -> None:
    loaded, pixels, images, things = toy
    model = Lord(images, things, loaded, CPU).train()
    error = np.abs(exchange(model, pixels, pixels) - pixels.astype(float)).mean()
    assert error < 0.4 * np.abs(pixels - pixels.mean(0)).mean()

    with torch.no_grad():
        style = model.encode_style(to_float(images), 0).mu
    means = torch.stack([style[things == thing].mean(0) for thing in range(5)])
    within = (style - means[things]).square().mean()
    assert within < 0.1 * (means - means.mean(0)).square().mean()


def test_a_seed_gives_the_same_model(toy: Any) -> None:
    loaded, _, images, things = toy
    short = loaded.model_copy(update={"train": loaded.train.model_copy(update={"steps": 4})})
    first, second = (Lord(images, things, short, CPU).train().state_dict() for _ in range(2))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_other_networks_and_weights_are_refused(toy: Any) -> None:
    _, _, images, things = toy
    with pytest.raises(ValueError, match="vector"):
        Lord(images, things, config(content="map"), CPU)
    with pytest.raises(ValueError, match="first_stage"):
        LordOptions(first_stage=1.0)
    with pytest.raises(ValueError, match="negative"):
        LordOptions(noise=-1.0)
