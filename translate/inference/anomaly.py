"""The energy of every picture of a folder, against what is usual in a domain.

Legend: C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from itertools import count

from translate.inference.folder import MOST_WORKERS
from translate.inference.manifest import NOT_REACHED, Entry, Inputs, scan
from translate.inference.predictor import Predictor
from translate.io import images
from translate.io.images import UInt8
from translate.losses.energy import EnergyQuantiles, Measured
from translate.runtime.device import usable_cores
from translate.runtime.prefetch import ahead

PARTS = Measured._fields


@dataclass(frozen=True)
class Score:
    """A picture's energy and its parts (energy.py), its percentile, 0 to 100, and whether it lies
    beyond the limit.
    """

    source: str
    energy: float
    rec: float
    kl_c: float
    kl_s: float
    percentile: float
    rejected: bool


def measure_folder(
    predictor: Predictor,
    inputs: Inputs,
    domain: str,
    *,
    max_pixels: int = 178_000_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Measured], list[tuple[str, str]]]:
    """Energies of a picture, all pictures below a folder, or a list, as images of `domain`, by
    name; and failures.

    Names are as in the manifest of a translation; links to files are followed. What a file is
    given does not depend on the others. Raises ValueError in one line for an unknown domain and
    for inputs that are not there.
    """
    index = predictor.domain(domain)
    folder, entries = scan(inputs)
    # Not Path.is_file, which raises for a path that is too long.
    jobs = [e for e in entries if e.reason == NOT_REACHED or os.path.isfile(folder / e.source)]
    numbers = count()
    workers = min(usable_cores(), MOST_WORKERS)
    progress(next(numbers), len(jobs))

    def decode(job: Entry) -> UInt8 | None:
        try:
            return predictor.preprocess(images.read_image(folder / job.source, max_pixels))
        except Exception as error:  # no file may end the others
            job.fail(error)
            return None

    found: dict[str, Measured] = {}
    with ThreadPoolExecutor(workers) as pool:

        def decoded() -> Iterator[tuple[Entry, UInt8]]:
            for job, future in ahead(pool, decode, jobs, predictor.batch_size + 2 * workers):
                if (pixels := future.result()) is not None:
                    yield job, pixels
                else:
                    progress(next(numbers), len(jobs))

        with closing(predictor.measure(decoded(), index, predictor.batch_size)) as measured:
            for job, value in measured:
                if isinstance(value, Exception):
                    job.fail(value)
                elif not math.isfinite(value.energy):
                    job.fail(ValueError("its energy is not finite"))
                else:
                    found[job.source] = value
                progress(next(numbers), len(jobs))
    failures = [(entry.source, str(entry.reason)) for entry in entries if entry.status == "failed"]
    return dict(sorted(found.items())), failures


def scores(
    measured: dict[str, Measured], reference: EnergyQuantiles, reject: float = 0.999
) -> list[Score]:
    """What is measured against what is usual; beyond the quantile `reject` it is rejected.

    Raises ValueError for a quantile that is not above 0 and at most 1.
    """
    limit = reference.limit(reject)
    return [
        Score(name, *value, reference.percentile(value.energy), value.energy > limit)
        for name, value in measured.items()
    ]


def to_csv(rows: Sequence[Score]) -> str:
    """A line for each picture, the first names the columns."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [field.name for field in fields(Score)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        numbers = {
            key: f"{value:.6g}" for key, value in asdict(row).items() if isinstance(value, float)
        }
        writer.writerow({"source": readable(row.source), **numbers, "rejected": int(row.rejected)})
    return file.getvalue()


def readable(name: str) -> str:
    """A file's name as text: bytes that are none are told by their code."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
