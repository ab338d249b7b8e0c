"""The API that the page publishes: what programs call, by names and types of ours.

Each function is an endpoint of its name; Gradio shows its docstring and its types with it. It reads
them when the function is published, so that they may not be left as text (PEP 563).
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import gradio as gr

from pipelines.ui.errors import told
from pipelines.ui.jobs import Job
from pipelines.ui.translation import Wish, start_files, start_folder
from pipelines.ui.workspace import Workspace

StyleName: TypeAlias = Literal["auto", "mean", "random", "keep", "own"]
Scale: TypeAlias = Literal["auto", "model", "native", "detail"]


def _wish(  # noqa: PLR0913  (arguments of the API)
    model: str,
    to: str,
    source: str,
    style: str,
    seed: int,
    scale: str,
    strip: bool,
    strength: float,
) -> Wish:
    """Read the arguments; Gradio publishes their types and does not check them."""
    if style not in get_args(StyleName):  # a path would read any file of this machine
        raise ValueError(f"style {style}: use {', '.join(get_args(StyleName))}")
    return Wish(model, source, to, style, seed, scale, strip, strength)


def add_api(workspace: Workspace) -> None:
    """Publish the endpoints of a workspace."""

    @told
    def translate(  # noqa: PLR0913  (arguments of the API)
        picture: gr.FileData,
        model: str = "typefaces",
        to: str = "",
        source: str = "",
        style: StyleName = "auto",
        seed: int = 0,
        scale: Scale = "auto",
        strip: bool = False,
        strength: float = 1.0,
    ) -> gr.FileData:
        """Translate one picture; returns a PNG file.

        model: a name that `models` lists. to, source: its domains; where both are empty, the
        picture's look decides. style: auto, mean, random, keep or own. seed: of random styles.
        scale: auto, model, native or detail. strip: write no metadata. strength: how much of the
        change, of models that keep detail: 0.5 is half of it, up to 2.
        """
        wish = _wish(model, to, source, style, seed, scale, strip, strength)
        job = start_files(workspace, [_uploaded(workspace, picture)], wish)
        for _ in job.watch():
            pass
        entry = next(iter(job.entries), None)
        if entry is None or entry.status != "ok":
            raise ValueError(job.message if entry is None else f"{entry.path}: {entry.reason}")
        return gr.FileData(path=str(job.out / entry.outputs[0]))

    @told
    def job(  # noqa: PLR0913  (arguments of the API)
        folder: str,
        out: str,
        model: str = "typefaces",
        to: str = "",
        source: str = "",
        style: StyleName = "auto",
        seed: int = 0,
        scale: Scale = "auto",
        strip: bool = False,
        strength: float = 1.0,
    ) -> Iterator[dict[str, Any]]:
        """Translate a folder into another, both below the folder that is served.

        Reports, as often as something changes: state (waiting, running, done, cancelled, failed),
        done, total, message, and when it is over, the summary. The other arguments are those of
        `translate`. A client that leaves does not end it.
        """
        if not out:
            raise ValueError("out: name the folder to write into")
        wish = _wish(model, to, source, style, seed, scale, strip, strength)
        started = start_folder(workspace, folder, out, wish)
        for _ in started.watch():
            yield _report(started)

    def models() -> list[dict[str, Any]]:
        """List the models: their name, domains, size in pixels, and what training found."""
        return [_facts(workspace, name) for name in workspace.models()]

    for endpoint in (translate, job, models):
        gr.api(endpoint, concurrency_limit=None)


def _uploaded(workspace: Workspace, picture: Any) -> Path:
    """Return the file of an upload; Gradio does not check that it is one.

    Raises:
        ValueError: for anything else.
    """
    path = picture.get("path") if isinstance(picture, dict) else None
    uploaded = None if path is None else Path(path).resolve()
    if uploaded is None or not uploaded.is_relative_to(workspace.uploads):
        raise ValueError("picture: upload it, and give the path that this server answered with")
    return uploaded


def _report(job: Job) -> dict[str, Any]:
    """Say how far a job is, in plain data."""
    return {
        "id": job.id,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "message": job.message,
        "summary": None if job.summary is None else asdict(job.summary),
    }


def _facts(workspace: Workspace, name: str) -> dict[str, Any]:
    info = workspace.info(name)
    return {
        "name": name,
        "domains": list(info.config.data.names),
        "size": info.config.data.size,
        "step": info.summary.get("step"),
        "quality": info.summary.get("quality"),
    }
