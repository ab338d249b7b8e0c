"""What the page and the API ask of a model, as jobs."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.ui.jobs import Job
from pipelines.ui.paths import confined
from pipelines.ui.workspace import Workspace

if TYPE_CHECKING:
    from translate.inference.folder import FolderJob
    from translate.inference.folder_options import Progress
    from translate.inference.predictor import Predictor

MOST_FILES = 500  # dropped at once


@dataclass(frozen=True)
class Wish:
    """How pictures are to be translated.

    Args:
        model: its name in the workspace.
        source: the domain translated from, empty to find out by the pictures' look.
        to: the domain translated to, empty for the other one.
        style: auto, mean, random, keep, own, or the path of a picture in the wanted style.
        seed: of random styles.
        scale: auto, model, native or detail.
        strip: whether no metadata are written.
        strength: how much of the change is made, of a model that keeps detail.
    """

    model: str
    source: str = ""
    to: str = ""
    style: str = "auto"
    seed: int = 0
    scale: str = "auto"
    strip: bool = False
    strength: float = 1.0

    def job(
        self, workspace: Workspace, inputs: Path, out: Path, progress: Progress, dropped: bool
    ) -> FolderJob:
        """Make the translation of a folder.

        Args:
            workspace: has the model.
            inputs: the folder.
            out: the folder to write into.
            progress: is told how far it is.
            dropped: whether these are files that were chosen one by one: each must be a picture,
                each result is shown as soon as it is there, and all are PNG.
        """
        from translate.inference.folder import FolderJob
        from translate.inference.folder_options import FolderOptions

        predictor = workspace.predictor(self.model, self.scale, self.strength)
        options = FolderOptions(
            source=self.source or None,
            style=self.style,
            seed=self.seed,
            reject=_usual(predictor),
            strict=dropped,
            batch_size=1 if dropped and predictor.device.type == "cpu" else None,
            format="png" if dropped else "keep",
            strip=self.strip,
        )
        return FolderJob(predictor, inputs, out, self.to or None, options, progress)


def _usual(predictor: Predictor) -> float | None:
    """Return the quantile above which a picture is unlike a domain's, where the model knows it."""
    from translate.inference.likeness import USUAL

    with suppress(ValueError):  # models of short trainings have no quantiles
        for name in predictor.config.data.names:
            predictor.reference(name)
        return USUAL
    return None


def is_unlike(warnings: Sequence[str]) -> bool:
    """Tell whether the warnings of an input say that it is unlike the training pictures."""
    return any(" quantile of " in warning for warning in warnings)


def start_files(workspace: Workspace, files: Sequence[Path], wish: Wish) -> Job:
    """Begin to translate files that lie anywhere, such as uploads.

    Raises:
        ValueError: for none and for too many.
    """
    if not files:
        raise ValueError("no pictures: drop some, or name a folder")
    if len(files) > MOST_FILES:
        raise ValueError(
            f"{len(files)} files: at most {MOST_FILES} at once; put them below {workspace.folder} "
            "and name their folder"
        )
    scratch = workspace.scratch / "jobs" / uuid.uuid4().hex
    inputs = scratch / "in"
    inputs.mkdir(parents=True)
    for file in files:
        os.link(file, inputs / _free_name(inputs, file.name))
    out = scratch / "translated"
    job = Job(lambda progress: wish.job(workspace, inputs, out, progress, True), out, scratch)
    return workspace.jobs.start(job)


def _free_name(folder: Path, name: str) -> str:
    """Return a name that no file of a folder has yet: the name itself, or numbered."""
    path = Path(name)
    number = 2
    while (folder / name).exists():
        name = f"{path.stem}-{number}{path.suffix}"
        number += 1
    return name


def start_folder(workspace: Workspace, place: str, out: str, wish: Wish) -> Job:
    """Begin to translate a folder of the workspace.

    Args:
        workspace: the folder must lie below its own.
        place: name of the folder.
        out: name of the folder to write into, which is made; empty to keep the results in the
            scratch folder.
        wish: how.

    Raises:
        ValueError: for names that lead out of the workspace, and a folder that is not there.
    """
    inputs = confined(workspace.folder, place)
    if not inputs.is_dir():
        raise ValueError(f"{place}: no such folder below {workspace.folder}")
    scratch = workspace.scratch / "jobs" / uuid.uuid4().hex
    scratch.mkdir(parents=True)
    target = confined(workspace.folder, out) if out else scratch / "translated"
    if target == workspace.folder:
        raise ValueError(f"{out}: give the results a folder of their own")
    job = Job(
        lambda progress: wish.job(workspace, inputs, target, progress, False), target, scratch
    )
    return workspace.jobs.start(job)


def archive(job: Job) -> Path:
    """Pack the results of a job, with their manifest, into a zip file."""
    path = job.scratch / "translated.zip"
    if not path.exists():
        shutil.make_archive(str(path.with_suffix("")), "zip", job.out)
    return path
