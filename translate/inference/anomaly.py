"""The energy of every picture of a folder, against the reference distribution of a domain.

Legend: C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from itertools import count

from translate.inference.folder_options import Progress, no_progress
from translate.inference.manifest import LINK, NOT_REACHED, Entry
from translate.inference.planning import Inputs, scan
from translate.inference.predictor import Predictor
from translate.inference.styles import default_workers
from translate.io.files import cell
from translate.io.folders import LocalFolder, Source
from translate.io.images import UInt8, count_pixels
from translate.losses.energy import EnergyQuantiles, Measured
from translate.runtime.budget import Budget
from translate.runtime.prefetch import ahead

PARTS = Measured._fields


@dataclass(frozen=True)
class Score:
    """A picture's energy and its parts (energy.py), and where these lie.

    Args:
        source: the picture's path.
        energy: weighted, per value of the picture.
        rec: reconstruction error, summed.
        kl_c: of the content, in nats.
        kl_s: of the style, in nats.
        percentile: share of the reference that is lower, 0 to 100.
        rejected: whether its energy is above the threshold.
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
    progress: Progress = no_progress,
) -> tuple[dict[str, Measured], list[tuple[str, str]]]:
    """Measure a picture, all pictures below a folder, or a list, as images of a domain.

    Names are as in the manifest of a translation; links to files are followed. What a file is
    given does not depend on the others.

    Args:
        predictor: the model.
        inputs: what to measure.
        domain: what they are taken for.
        max_pixels: of a picture; larger ones fail.
        progress: called with (done, total) in the calling thread.

    Returns:
        Energies by name, and (name, reason) of failures.

    Raises:
        ValueError: in one line, for an unknown domain and for inputs that are not there.
    """
    index = predictor.domain(domain)
    source, entries = scan(inputs)
    source, jobs = _with_links(source, entries)
    numbers = count()
    workers = default_workers()
    room = Budget(max_pixels)  # for all that are decoded at once

    def decode(job: Entry) -> UInt8 | None:
        try:
            path = source.fetch(job.path)
            with room.share(count_pixels(path)):
                return predictor.preprocess(predictor.read(path, max_pixels))
        except Exception as error:  # no file may end the others
            job.fail(error)
            return None
        finally:
            source.release(job.path)

    def decoded(pool: ThreadPoolExecutor) -> Iterator[tuple[Entry, UInt8]]:
        for job, future in ahead(pool, decode, jobs, predictor.batch_size + 2 * workers):
            pixels = future.result()
            if pixels is None:
                progress(next(numbers), len(jobs))
            else:
                yield job, pixels

    progress(next(numbers), len(jobs))
    found: dict[str, Measured] = {}
    with (
        closing(source),
        ThreadPoolExecutor(workers) as pool,
        closing(predictor.measure_energies(decoded(pool), index)) as measured,
    ):
        for job, energies in measured:
            if isinstance(energies, Exception):
                job.fail(energies)
            elif not math.isfinite(energies.energy):
                job.fail(ValueError("its energy is not finite"))
            else:
                found[job.path] = energies
            progress(next(numbers), len(jobs))
    failures = [(entry.path, str(entry.reason)) for entry in entries if entry.status == "failed"]
    return dict(sorted(found.items())), failures


def _with_links(source: Source, entries: Sequence[Entry]) -> tuple[Source, list[Entry]]:
    """Return the inputs that are to be measured, links to files included, and where they are."""
    if not isinstance(source, LocalFolder):
        found = (entry for entry in entries if entry.reason == NOT_REACHED)
        return source, [entry for entry in found if source.is_picture(entry.path)]
    jobs = [
        entry
        for entry in entries
        if entry.reason == NOT_REACHED or (entry.reason == LINK and source.holds_file(entry.path))
    ]
    return LocalFolder(source.folder, takes_links=True), jobs


def scores(
    measured: dict[str, Measured], reference: EnergyQuantiles, reject: float = 0.999
) -> list[Score]:
    """Compare what is measured with a reference distribution.

    Args:
        measured: energies by name.
        reference: of the domain.
        reject: the quantile, in (0, 1], above which an image is rejected.

    Raises:
        ValueError: for a quantile out of range.
    """
    limit = reference.limit(reject)
    return [
        Score(name, *energies, reference.percentile(energies.energy), energies.energy > limit)
        for name, energies in measured.items()
    ]


def to_csv(rows: Sequence[Score]) -> str:
    """Return a line for each picture; the first names the columns."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [field.name for field in fields(Score)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        numbers = {
            key: f"{value:.6g}" for key, value in asdict(row).items() if isinstance(value, float)
        }
        writer.writerow(
            {"source": cell(readable(row.source)), **numbers, "rejected": int(row.rejected)}
        )
    return file.getvalue()


def readable(name: str) -> str:
    """Return a file's name as text; bytes that are none are written as their code."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
