"""`introshift bench train`: measure what a training step costs, and where its time goes."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines._console import result, table
from pipelines._options import Device, Json, OptionalPrecision, Settings
from pipelines.bench._work import gflop, matrix_gflops

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from translate.config import Config
    from translate.data.dataset import Domain
    from translate.training.trainer import Trainer

PHASES = {"warm-up": 1.0, "game": 0.0}  # key of --json, kept for scripts -> train.warmup
TITLES = {"warm-up": "warm-up", "game": "introspective"}
NETWORKS = ("content", "style", "decoder")
SHARES = ("data", "encoder", "decoder", "optimizer")
WARMUP_STEPS = 3  # not timed


def command(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="A config; default: all defaults.")
    ] = None,
    settings: Settings = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps to time of each kind.")] = 20,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")
    ] = None,
    device: Device = "auto",
    precision: OptionalPrecision = None,
    as_json: Json = False,
) -> None:
    """Time warm-up and introspective steps on noise of the config's size; medians."""
    from translate.config import from_dict, load_config, override

    options = {} if precision is None else {"train.precision": precision}
    if config is None:
        loaded = from_dict(override({}, settings or [], options))
    else:
        loaded = load_config(config, settings or [], options)

    from translate.runtime.affinity import UNBOUND, bind_openmp_threads, usable_cores

    fewer = threads is not None and threads < usable_cores()
    binding = UNBOUND if fewer else bind_openmp_threads()  # before torch is imported

    import torch

    from translate.runtime.device import keep_freed_memory
    from translate.training.trainer import Trainer

    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    data: dict[str, Any] = {"threads": torch.get_num_threads()}
    for phase, warmup in PHASES.items():
        train = loaded.train.model_copy(update={"warmup": warmup, "max_minutes": None})
        timed = loaded.model_copy(update={"train": train})
        with TemporaryDirectory() as folder:
            trainer = Trainer(timed, _noise(timed), Path(folder), device)
            data["device"] = str(trainer.device)
            data["dtype"] = str(trainer.train_step.dtype).removeprefix("torch.")
            with binding.hold():
                data[phase] = _measure(trainer, steps)
    data["matrix_gflops"] = matrix_gflops(trainer.device, trainer.train_step.dtype)
    result(data, _tables(data), as_json)


def _noise(config: Config) -> list[Domain]:
    """Make a data set of noise for each domain: four batches of images at the loading size."""
    import numpy as np

    from translate.data.dataset import Domain

    rng = np.random.default_rng(0)
    data = config.data
    side = data.load_size or data.size
    shape = (4 * config.train.batch_size, side, side, data.channels)
    domains = []
    for name in data.names:
        images = list(rng.integers(0, 256, shape, dtype=np.uint8))
        domains.append(Domain(name, images, {}))
    return domains


def _measure(trainer: Trainer, steps: int) -> dict[str, Any]:
    """Measure medians over `steps`; time in the networks is divided by their FLOPs."""
    for _ in range(WARMUP_STEPS):
        trainer.step(trainer.batches.batch(0))
    passes, work = _count_work(trainer)
    spent = _median_seconds(trainer, steps)

    total = sum(spent.values())
    shares = {name: seconds / total for name, seconds in spent.items()}
    one_pass = _gflop_by_network(trainer)
    spent_in = {name: passes[name] * one_pass[name] for name in NETWORKS}
    in_decoder = spent_in["decoder"] / sum(spent_in.values())
    in_networks = shares.pop("networks")
    shares["encoder"] = in_networks * (1 - in_decoder)
    shares["decoder"] = in_networks * in_decoder
    return {
        "ms": 1000 * total,
        "images_per_second": len(trainer.train_step.y) / total,
        "passes": {name: passes[name] for name in NETWORKS},
        "share": shares,
        "gflop": work,
        "gflops": work / total,
    }


def _count_work(trainer: Trainer) -> tuple[Counter[str], float]:
    """Count forward passes of a batch through each network in one step, and the step's GFLOP.

    A pass over several batches at once counts as several passes.
    """
    encoder = trainer.train_step.model.encoder
    networks: dict[str, nn.Module] = {
        "style": encoder.style_trunk,
        "decoder": trainer.train_step.model.decoder,
    }
    if not encoder.one_latent:
        networks["content"] = encoder.content_trunk
    batch_size = len(trainer.train_step.y)
    passes: Counter[str] = Counter()

    def count(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], object], None]:
        def hook(network: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            passes[name] += len(inputs[0]) // batch_size

        return hook

    hooks = [network.register_forward_hook(count(name)) for name, network in networks.items()]
    work = gflop(lambda: trainer.step(trainer.batches.batch(0)))
    for hook in hooks:
        hook.remove()
    return passes, work


def _median_seconds(trainer: Trainer, steps: int) -> dict[str, float]:
    """Time the three parts of a step: waiting for data, networks, optimizer.

    Not by torch.utils.benchmark: it times a statement as a whole, but here the parts of one step
    are timed, while a thread makes the next batch.
    """
    seconds: dict[str, list[float]] = {"data": [], "networks": [], "optimizer": []}
    with ThreadPoolExecutor(1) as loader:
        batch = loader.submit(trainer.batches.batch, 0)
        for i in range(steps):
            times = [time.perf_counter()]
            x = batch.result()
            batch = loader.submit(trainer.batches.batch, i + 1)
            times.append(time.perf_counter())
            trainer.train_step.gradients(x, i, trainer.state.beta_neg)
            _synchronize(trainer.device)
            times.append(time.perf_counter())
            trainer.train_step.update(i, trainer.state.learning_rate)
            _synchronize(trainer.device)
            times.append(time.perf_counter())
            for part, start, end in zip(seconds, times[:-1], times[1:], strict=True):
                seconds[part].append(end - start)
    return {part: statistics.median(values) for part, values in seconds.items()}


def _gflop_by_network(trainer: Trainer) -> dict[str, float]:
    """Count the GFLOP of one forward pass of a batch through each network."""
    import torch

    from translate.io.tensors import to_float

    model = trainer.train_step.ema
    x = to_float(trainer.batches.batch(0), trainer.device)
    y = trainer.train_step.y
    with torch.no_grad():
        z_c = model.encoder.content(x, y).mu
        z_s = model.encoder.style(x, y).mu
        passes: dict[str, Callable[[], object]] = {
            "content": lambda: model.encoder.content(x, y),
            "style": lambda: model.encoder.style(x, y),
            "decoder": lambda: model.decoder(z_c, z_s, y, y),
        }
        return {name: gflop(passes[name]) for name in NETWORKS}


def _synchronize(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tables(data: dict[str, Any]) -> str:
    """Lay out speed, forward passes and shares of time, a row for each phase."""
    speed = []
    passes = []
    shares = []
    for phase, title in TITLES.items():
        measured = data[phase]
        of_matrices = measured["gflops"] / data["matrix_gflops"]
        rates = (measured["ms"], measured["images_per_second"], measured["gflops"])
        speed.append([title, *(f"{rate:.1f}" for rate in rates), f"{of_matrices:.2f}"])
        passes.append([title, *(str(measured["passes"][name]) for name in NETWORKS)])
        shares.append([title, *(f"{100 * measured['share'][name]:.1f} %" for name in SHARES)])

    machine = f"{data['device']}, {data['dtype']}, {data['threads']} threads"
    return "\n".join(
        [
            f"{machine}; matrices {data['matrix_gflops']:.0f} GFLOP/s",
            "",
            table(("step", "ms", "images/s", "GFLOP/s", "of matrices"), speed),
            "",
            table(("forward passes", *NETWORKS), passes),
            "",
            table(("share of time", *SHARES), shares),
        ]
    )
