"""`introshift bench train`: what a training step costs, where it goes, how near it is to the
machine's matrix rate.
"""

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

from pipelines._console import Device, Json, result

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from translate.config import Config
    from translate.training.trainer import Trainer

PHASES = {"warm-up": 1.0, "game": 0.0}  # name -> train.warmup
MATRIX = 2048  # side of the matrices that measure the machine
WARM = 3  # steps that are not timed


def command(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="A config; default: all defaults.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a setting.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps to time of each kind.")] = 20,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    as_json: Json = False,
) -> None:
    """Time warm-up and introspective steps on noise of the config's size; medians."""
    from translate.config import from_dict, load_config, override

    options = {} if precision is None else {"train.precision": precision}
    if config is None:
        loaded = from_dict(override({}, settings or [], options))
    else:
        loaded = load_config(config, settings or [], options)

    import torch

    from translate.runtime.device import keep_freed_memory
    from translate.training.trainer import Trainer

    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    made: dict[str, Any] = {"threads": torch.get_num_threads()}
    for phase, warmup in PHASES.items():
        train = loaded.train.model_copy(update={"warmup": warmup, "max_minutes": None})
        timed = loaded.model_copy(update={"train": train})
        with TemporaryDirectory() as folder:
            trainer = Trainer(timed, _noise(timed), Path(folder), device, say=lambda text: None)
            made |= {
                "device": str(trainer.device),
                "dtype": str(trainer.train_step.dtype).removeprefix("torch."),
            }
            made[phase] = _measure(trainer, steps)
    made["matrix_gflops"] = _matrix_rate(trainer.device, trainer.train_step.dtype)
    result(made, _table(made), as_json)


def _noise(config: Config) -> list[Any]:
    import numpy as np

    from translate.data.dataset import Domain

    rng = np.random.default_rng(0)
    data = config.data
    side = data.load_size or data.size
    shape = (4 * config.train.batch_size, side, side, data.channels)
    return [
        Domain(name, list(rng.integers(0, 256, shape, dtype=np.uint8)), {}) for name in data.names
    ]


def _measure(trainer: Trainer, steps: int) -> dict[str, Any]:
    """Medians over `steps`; time in the networks is shared out by their FLOPs."""
    from torch.utils.flop_counter import FlopCounterMode

    for _ in range(WARM):
        trainer.step(trainer.batches.batch(0))
    encoder = trainer.train_step.model.encoder
    decoder = trainer.train_step.model.decoder
    networks: dict[str, nn.Module] = {"style": encoder.style_trunk, "decoder": decoder}
    if not encoder.one_latent:
        networks["content"] = encoder.content_trunk
    # of a batch's images; what is judged in one go counts as often as it is larger
    passes: Counter[str] = Counter()

    def count(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], object], None]:
        return lambda net, inputs, made: passes.update(
            {name: len(inputs[0]) // len(trainer.train_step.y)}
        )

    hooks = [net.register_forward_hook(count(name)) for name, net in networks.items()]
    with FlopCounterMode(display=False) as counter:
        trainer.step(trainer.batches.batch(0))
    for hook in hooks:
        hook.remove()
    seconds: dict[str, list[float]] = {"data": [], "networks": [], "optimizer": []}
    with ThreadPoolExecutor(1) as loader:
        batch = loader.submit(trainer.batches.batch, 0)
        for i in range(steps):
            times = [time.perf_counter()]
            x = batch.result()
            batch = loader.submit(trainer.batches.batch, i + 1)
            times.append(time.perf_counter())
            trainer.train_step.gradients(x, i, trainer.state.beta_neg)
            _wait(trainer.device)
            times.append(time.perf_counter())
            trainer.train_step.update(i, trainer.state.learning_rate)
            _wait(trainer.device)
            times.append(time.perf_counter())
            for values, begun, ended in zip(seconds.values(), times, times[1:], strict=False):
                values.append(ended - begun)
    spent = {name: statistics.median(values) for name, values in seconds.items()}
    whole = sum(spent.values())
    shares = {name: value / whole for name, value in spent.items()}
    cost = {name: passes[name] * flops for name, flops in _flops(trainer).items()}
    decoding = cost["decoder"] / sum(cost.values())
    computing = shares.pop("networks")
    shares |= {"encoder": computing * (1 - decoding), "decoder": computing * decoding}
    gflop = counter.get_total_flops() / 1e9
    return {
        "ms": 1000 * whole,
        "images_per_second": len(trainer.train_step.y) / whole,
        "passes": {name: passes[name] for name in cost},
        "share": shares,
        "gflop": gflop,
        "gflops": gflop / whole,
    }


def _flops(trainer: Trainer) -> dict[str, int]:
    """Of one forward pass of a batch through each network."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from translate.data.dataset import to_floats

    model = trainer.train_step.ema
    x = to_floats(trainer.batches.batch(0), trainer.device)
    y = trainer.train_step.y
    with torch.no_grad():
        z_c = model.encoder.content(x, y).mu
        z_s = model.encoder.style(x, y).mu
        flops = {}
        for name in ("content", "style", "decoder"):
            with FlopCounterMode(display=False) as counter:
                model.decoder(z_c, z_s, y, y) if name == "decoder" else getattr(
                    model.encoder, name
                )(x, y)
            flops[name] = counter.get_total_flops()
    return flops


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of the best of several products of square matrices."""
    import torch

    a, b = (torch.rand(MATRIX, MATRIX, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        _wait(device)
        begun = time.perf_counter()
        a @ b
        _wait(device)
        best = min(best, time.perf_counter() - begun)
    return 2e-9 * MATRIX**3 / best


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _table(made: dict[str, Any]) -> str:
    lines = [
        f"{made['device']}, {made['dtype']}, {made['threads']} threads; matrices {made['matrix_gflops']:.0f} GFLOP/s",
        "step          ms  images/s  content  style  decoder  GFLOP/s  of matrices"
        "   time in data, encoder, decoder, optimizer",
    ]
    for phase in PHASES:
        m = made[phase]
        passes = m["passes"]
        shares = ", ".join(
            f"{100 * m['share'][name]:.1f} %"
            for name in ("data", "encoder", "decoder", "optimizer")
        )
        lines.append(
            f"{phase:8} {m['ms']:7.1f} {m['images_per_second']:9.0f} {passes['content']:8} {passes['style']:6} "
            f"{passes['decoder']:8} {m['gflops']:8.0f} {m['gflops'] / made['matrix_gflops']:12.2f}   {shares}"
        )
    return "\n".join(lines)
