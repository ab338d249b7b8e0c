"""`introshift bench gpu`: trainings at several sizes side by side on one device, in one table.

What a card is worth for this is known after minutes: speed, share of what its matrix units can do,
memory and, by the trained models, quality. A training whose row is written is not run again.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines._console import log, result, table
from pipelines._options import Device, Json, Settings

if TYPE_CHECKING:
    from translate.config import Config
    from translate.evaluation.results import Evaluation

ROW = "row.json"


@dataclass(frozen=True)
class Job:
    """One training, and its evaluation.

    Attributes:
        data: folder with trainA, trainB, testA and testB.
        size: training size in pixels.
        folder: where the run, and at last its row of the table, are written.
        steps: of training.
        settings: changes of the config that `introshift init` would write, KEY.PATH=VALUE.
        device: auto, cpu, cuda or mps.
    """

    data: Path
    size: int
    folder: Path
    steps: int
    settings: tuple[str, ...]
    device: str

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.data.name} {self.size} px"


def command(
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA ...", help="Folders with trainA to testB.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the runs; those that are done are kept.")
    ],
    sizes: Annotated[str, typer.Option(help="Training sizes in pixels.")] = "128,256",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 3000,
    parallel: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    settings: Settings = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train on every DATA at every size, side by side; print speed, memory and quality."""
    jobs = [
        Job(folder, size, out / f"{folder.name}_{size}", steps, tuple(settings or ()), device)
        for folder in data
        for size in _sizes(sizes)
    ]
    if len({job.folder for job in jobs}) < len(jobs):
        raise ValueError("DATA: two folders of one name; rename one of them")
    for job in jobs:
        _config(job)  # a mistake is found before anything is trained

    from pipelines.bench._work import matrix_gflops
    from translate.runtime.device import choose_device, choose_precision

    chosen = choose_device(device)
    dtype = choose_precision("auto", chosen)
    # a machine of its own: nothing else runs yet
    machine = {
        "device": str(chosen),
        "dtype": str(dtype).removeprefix("torch."),
        "matrix_gflops": matrix_gflops(chosen, dtype),
    }
    rows = list(_run(jobs, parallel))
    rows.sort(key=lambda row: (row["data"], row["size"]))
    result({**machine, "parallel": parallel, "rows": rows}, _table(machine, rows), as_json)


def _sizes(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"--sizes {text}: use pixels with commas between them, such as 128,256")
    return [int(part) for part in parts]


def _config(job: Job) -> Config:
    """Return the config that `init` would write for the data, with the job's changes."""
    from translate.config import from_dict, override
    from translate.data.inspection import suggest_config

    folders = {name: job.data / f"train{name}" for name in "AB"}
    values = suggest_config(folders, job.size)
    return from_dict(override(values, job.settings, {"train.steps": job.steps}))


def _run(jobs: Sequence[Job], parallel: int) -> Iterator[dict[str, Any]]:
    """Run jobs, so many at a time, each in a process of its own; yield their rows."""
    left = []
    for job in jobs:
        row = job.folder / ROW
        if row.exists():
            log(f"{job.name}: done before, {row}")
            yield json.loads(row.read_text("utf-8"))
        else:
            left.append(job)
    context = multiprocessing.get_context("spawn")  # CUDA cannot be forked
    # one training a process: the peak of memory is then its own
    with ProcessPoolExecutor(parallel, context, max_tasks_per_child=1) as pool:
        waiting = {pool.submit(run_job, job): job for job in left}
        for done in as_completed(waiting):
            log(f"{waiting[done].name}: done")
            yield done.result()


def run_job(job: Job) -> dict[str, Any]:
    """Train, or go on training, and evaluate the model; return a row of the table.

    Args:
        job: what to train.
    """
    from translate.data.dataset import load_domains
    from translate.evaluation.options import EvaluationOptions
    from translate.evaluation.protocols import evaluate
    from translate.io.files import write_text
    from translate.models.metadata import RUN_MODEL
    from translate.training.checkpoint import list_states
    from translate.training.trainer import Trainer

    config = _config(job)
    run = job.folder / "run"
    start = time.perf_counter()
    trainer = Trainer(config, load_domains(config.data), run, job.device)
    summary = trainer.run(resume=bool(list_states(run / "state")))
    minutes = (time.perf_counter() - start) / 60

    rate = _images_per_second(run)
    memory = _peak_memory(trainer.device.type)
    options = EvaluationOptions(device=job.device)
    evaluation = evaluate(run / RUN_MODEL, job.data, options=options)
    row = {
        "data": job.data.name,
        "size": job.size,
        "steps": summary["step"],
        "best_step": summary["best_step"],
        "minutes": minutes,
        "images_per_second": rate,
        "gflops": None if rate is None else rate * _gflop_an_image(config, job.device),
        "memory_mib": memory,
        "quality": _quality(evaluation),
    }
    write_text(job.folder / ROW, json.dumps(row, indent=1))
    return row


def _images_per_second(run: Path) -> float | None:
    """Return the median rate of the introspective phase; None where none was logged."""
    from translate.viz.history import read_history

    history = read_history(run)
    if history.introspective is None:
        return None
    points = history.terms["images_per_second"]
    return statistics.median(rate for step, rate in points if step >= history.introspective)


def _peak_memory(device: str) -> float:
    """Return the peak of this process's memory, in MiB: on the card, else in the machine."""
    import resource

    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _gflop_an_image(config: Config, device: str) -> float:
    """Count the GFLOP of an introspective step, a share for each image."""
    import torch

    from pipelines.bench._work import gflop
    from translate.runtime.device import choose_device
    from translate.runtime.distributed import Processes
    from translate.training.step import TrainStep

    train = config.train.model_copy(update={"batch_size": 2})
    small = config.model_copy(update={"train": train})
    step = TrainStep(small, Processes(choose_device(device), alone=True))
    shape = (len(step.y), config.data.channels, config.data.size, config.data.size)
    x = torch.randint(0, 256, shape, dtype=torch.uint8)
    return gflop(lambda: step.gradients(x, 0, 1.0)) / len(x)


def _quality(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return each direction's first metric, beside that of the untranslated input."""
    found = []
    for direction in evaluation.directions:
        name, metric = direction.ordered()[0]
        identity = metric.identity.value if metric.identity else None
        found.append(
            {
                "direction": direction.name,
                "metric": name,
                "value": metric.value,
                "identity": identity,
            }
        )
    return found


def _table(machine: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    head = ("data", "px", "steps", "minutes", "images/s", "of matrices", "MiB", "quality (input)")
    lines = []
    for row in rows:
        rate = row["images_per_second"]
        share = None if rate is None else row["gflops"] / machine["matrix_gflops"]
        lines.append(
            [
                row["data"],
                str(row["size"]),
                str(row["steps"]),
                f"{row['minutes']:.1f}",
                "-" if rate is None else f"{rate:.1f}",
                "-" if share is None else f"{share:.3f}",
                f"{row['memory_mib']:.0f}",
                ", ".join(_in_words(quality) for quality in row["quality"]),
            ]
        )
    rate = f"matrices {machine['matrix_gflops']:.0f} GFLOP/s"
    first = f"{machine['device']}, {machine['dtype']}; {rate}"
    return f"{first}\n\n{table(head, lines)}"


def _in_words(quality: dict[str, Any]) -> str:
    identity = quality["identity"]
    beside = "" if identity is None else f" ({identity:.3f})"
    return f"{quality['direction']} {quality['metric']} {quality['value']:.3f}{beside}"
