"""`introshift bench cars3d`: exchange content and style between cars, and compare with the truth.

The experiment of the paper, without labels in training, beside what must be beaten and beside LORD,
which has labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines._console import library_messages, log, result, table
from pipelines._options import Device, Json, LpipsNet, LpipsWeights, Settings

if TYPE_CHECKING:
    from translate.config import Config
    from translate.evaluation.exchange import Exchange, View
    from translate.io.images import UInt8
    from translate.models.networks import Model

DOMAIN = "things"
SHOWN = 8  # contents and styles of the figure
MEAN_OF = 512  # training pictures, at most, whose mean is one of the answers


def command(  # noqa: PLR0913  (options of the command line)
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder with labels.csv: file, object, azimuth, elevation, split (test: held "
            "out).",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for all results.")],
    config: Annotated[
        Path | None, typer.Option(help="A config; default: the recipe for things and views.")
    ] = None,
    settings: Settings = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Minutes of each training; default: by steps.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="A model of one domain to measure; default: one is trained."),
    ] = None,
    lord: Annotated[
        bool, typer.Option("--lord/--no-lord", help="Also train LORD, which sees the labels.")
    ] = True,
    pairs: Annotated[int, typer.Option(min=1, help="Exchanges to measure.")] = 500,
    lpips_net: LpipsNet = "alex",
    lpips_weights: LpipsWeights = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Exchange content and style between labelled things; LPIPS to the true pictures."""
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out}: is not empty; name a new folder")
    loaded = _config(data, config, settings or [], max_minutes, model)
    out.mkdir(parents=True, exist_ok=True)

    from translate.evaluation.exchange import (
        draw_exchanges,
        exchange,
        load_views,
        measure_exchange,
        read_views,
    )
    from translate.inference.predictor import Predictor
    from translate.io.files import readable_json, write_text
    from translate.metrics.lpips import Perceptual, WeightsUnavailableError

    try:
        perceptual = Perceptual.load(lpips_net, lpips_weights)
    except WeightsUnavailableError as error:
        raise ValueError(str(error)) from None
    views = read_views(data)
    trained = [view for view in views if not view.held_out]
    held_out = [view for view in views if view.held_out]
    drawn = draw_exchanges(held_out, pairs, loaded.train.seed)
    log(f"{len(trained)} views to train on, {len(held_out)} of other things to exchange")
    pictures = load_views(trained, loaded.data)
    answers, truth = _known_answers(drawn, pictures, loaded)

    models: dict[str, Model] = {}
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    if model is None:
        model = _train(loaded, pictures, out, device)
        seconds["introshift"] = time.perf_counter() - started
    models["introshift"] = Predictor.load(model, device).model
    if lord:
        started = time.perf_counter()
        models["LORD, with labels"] = _train_lord(loaded, pictures, trained, out, device)
        seconds["LORD, with labels"] = time.perf_counter() - started

    contents = load_views([each.content for each in drawn], loaded.data)
    styles = load_views([each.style for each in drawn], loaded.data)
    for name, network in models.items():
        answers[name] = exchange(network, contents, styles)
    found = measure_exchange(answers, truth, perceptual)
    _write_pictures(out, {**answers, "truth": truth})
    _write_figures(out, models, held_out, loaded)

    measured: dict[str, Any] = {
        "pairs": len(drawn),
        "size": loaded.data.size,
        "net": lpips_net,
        "weights_sha256": perceptual.weights_sha256,
        "seed": loaded.train.seed,
        "seconds": seconds,
        "answers": {
            name: {metric: asdict(value) for metric, value in metrics.items()}
            for name, metrics in found.items()
        },
    }
    write_text(out / "exchange.json", readable_json(measured))
    rows = [
        [
            name,
            f"{metrics['lpips_paired'].value:.3f}",
            f"{metrics['lpips_paired'].low:.3f} to {metrics['lpips_paired'].high:.3f}",
            f"{metrics['l1'].value:.3f}",
            f"{metrics['ssim'].value:.3f}" if "ssim" in metrics else "",
        ]
        for name, metrics in found.items()
    ]
    result(measured, table(("answer", "LPIPS", "95 %", "L1", "SSIM"), rows), as_json)


def _config(
    data: Path,
    config: Path | None,
    settings: list[str],
    max_minutes: float | None,
    model: Path | None,
) -> Config:
    """Return the config of the training, or of a trained model, for LORD beside it."""
    from translate.config import from_dict, load_config, override
    from translate.presets import things_and_views

    given = {} if max_minutes is None else {"train.max_minutes": max_minutes}
    if model is not None:
        from translate.models.checkpoint import load_model
        from translate.models.metadata import model_file

        trained = load_model(model_file(model)).config.model_dump(mode="json")
        loaded = from_dict(override(trained, settings, given))
    elif config is not None:
        loaded = load_config(config, settings, given)
    else:
        recipe = things_and_views()
        recipe["data"] = {**recipe["data"], "domains": {DOMAIN: "."}, "root": str(data)}
        loaded = from_dict(override(recipe, settings, given))
    if len(loaded.data.names) != 1 or loaded.model.one_latent:
        raise ValueError("bench cars3d: needs one domain and model.content_channels of 1 or more")
    return loaded


def _known_answers(
    drawn: Sequence[Exchange], trained: UInt8, config: Config
) -> tuple[dict[str, UInt8], UInt8]:
    """Return the answers that need no model, by name, and the truth; (n, S, S, C) each."""
    import numpy as np

    from translate.evaluation.exchange import load_views
    from translate.io.files import evenly_spaced

    some = np.stack(evenly_spaced(list(trained), MEAN_OF))
    mean = np.round(some.mean(0)).astype(np.uint8)
    answers = {
        "mean of the training pictures": np.stack([mean] * len(drawn)),
        "content as it is": load_views([each.content for each in drawn], config.data),
        "style as it is": load_views([each.style for each in drawn], config.data),
        "nearest view of the style's thing": load_views(
            [each.nearest for each in drawn], config.data
        ),
    }
    return answers, load_views([each.truth for each in drawn], config.data)


def _train(config: Config, pictures: UInt8, out: Path, device: str) -> Path:
    """Train without labels; return the last model, as nothing here selects by the truth."""
    from pipelines._training import Preparation, train_with_progress
    from translate.data.dataset import make_domain
    from translate.models.metadata import LAST_MODEL
    from translate.runtime.affinity import UNBOUND

    run = out / "run"
    domain = make_domain(config.data.names[0], list(pictures), {}, config.data)
    now = time.perf_counter()
    train_with_progress(Preparation(config, [domain], run, device, 0, UNBOUND, None, now))
    return run / LAST_MODEL


def _train_lord(
    config: Config, pictures: UInt8, views: Sequence[View], out: Path, device: str
) -> Model:
    """Train LORD on the same pictures, with their things, for as long, and save its model."""
    import torch

    from translate.evaluation.lord import Lord
    from translate.models.checkpoint import save_model
    from translate.runtime.device import choose_device

    names = sorted({view.thing for view in views})
    things = torch.tensor([names.index(view.thing) for view in views])
    images = torch.from_numpy(pictures).movedim(-1, 1).contiguous()
    vector = config.model.model_copy(update={"content": "vector", "style_patch": 0})
    config = config.model_copy(update={"model": vector})
    log("training LORD, with labels")
    with library_messages():
        model = Lord(images, things, config, choose_device(device)).train()
    save_model(out / "lord.safetensors", model, config, {})
    return model


def _write_pictures(out: Path, answers: dict[str, UInt8]) -> None:
    """Write OUT/pictures/ANSWER/NUMBER.png, so that any other scorer can compare them."""
    from translate.io.images import write_image

    for name, pictures in answers.items():
        folder = out / "pictures" / name.replace(" ", "_").replace(",", "").replace("'", "")
        folder.mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures):
            write_image(folder / f"{i:04}.png", picture)


def _write_figures(
    out: Path, models: dict[str, Model], views: Sequence[View], config: Config
) -> None:
    """Draw the figure of the paper for each model: rows keep the style, columns the content."""
    from translate.evaluation.exchange import load_views, one_view_each
    from translate.inference.swap import swap_figure
    from translate.io.images import write_image

    contents = load_views(one_view_each(views, SHOWN, seed=0), config.data)
    styles = load_views(one_view_each(views, SHOWN, seed=1), config.data)
    for name, model in models.items():
        figure = swap_figure(model, contents, styles, 0, 0)
        write_image(out / f"{name.split(',')[0].lower()}.png", figure)
