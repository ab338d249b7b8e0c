"""The tab Train: two folders, what to expect of them, and the training as it runs."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr

from pipelines.ui import runs
from pipelines.ui.display import strip
from pipelines.ui.errors import told
from pipelines.ui.paths import confined, picture_folders, relative
from pipelines.ui.runs import Trainings
from pipelines.ui.training_view import (
    curves_html,
    nothing_yet,
    plan_in_words,
    state_html,
    survey_in_words,
    training_in_words,
)
from pipelines.ui.workspace import Workspace
from translate.io.depth import Levels
from translate.io.images import ImageError, UInt8, read_image, to_channels
from translate.models.metadata import LAST_MODEL, RUN_MODEL
from translate.viz.history import read_grids

Updates: TypeAlias = list[Any]  # one for each component that an event changes

SECONDS_BETWEEN_LOOKS = 2.0
SAMPLES = 8  # pictures of a domain that are shown
LARGEST_THAT_FITS = "the largest that fits"
RUNS = "runs"  # the folder of new runs and their configs
SIZES = (LARGEST_THAT_FITS, "32", "64", "128", "256")


@dataclass(frozen=True)
class Shown:
    """What the page shows of a run, so that only what is new is sent.

    Args:
        run: Its name; "" for none.
        state: Of its page, as HTML.
        grids: How many there are.
        scores: The scores that the curves show.
    """

    run: str = ""
    state: str = ""
    grids: int = 0
    scores: str = ""


@dataclass(frozen=True)
class Choices:
    """What a new training is made of, as the page has it.

    Args:
        first: A folder.
        second: Another; "" where the first holds a folder for each domain.
        name: Of the run.
        size: One of `SIZES`.
        minutes: At most so many; "" for no limit.
        settings: One a line.
    """

    first: str | None
    second: str | None
    name: str
    size: str
    minutes: str
    settings: str

    @property
    def folders(self) -> list[str]:
        """Those that were chosen."""
        return [folder for folder in (self.first, self.second) if folder]

    @property
    def pixels(self) -> int | None:
        """The training size; None for one that fits."""
        return None if self.size == LARGEST_THAT_FITS else int(self.size)

    @property
    def options(self) -> runs.TrainingOptions:
        """What the training is given besides its config."""
        return runs.training_options(self.minutes or "", self.settings or "")


def add_train_tab(workspace: Workspace, page: gr.Blocks) -> None:
    """Add what the tab shows, inside the tab."""
    _TrainTab(workspace, page)


class _TrainTab:
    """The components and what they do."""

    def __init__(self, workspace: Workspace, page: gr.Blocks) -> None:
        self.workspace = workspace
        self.trainings = Trainings()
        self._add_beginning()
        self._add_run()
        self._connect(page)

    # -- the components

    def _add_beginning(self) -> None:
        """Add what a new training is made of."""
        self.folders: list[gr.Dropdown] = []
        self.found: list[gr.HTML] = []
        with gr.Accordion("A new training") as self.beginning:
            gr.Markdown(
                "Two folders of pictures, no pairs. A folder that holds a folder for each domain "
                "can be given alone."
            )
            with gr.Row():
                for label in ("First folder", "Second folder"):
                    with gr.Column(min_width=280):
                        self.folders.append(
                            gr.Dropdown([], label=label, allow_custom_value=True, value="")
                        )
                        self.found.append(gr.HTML(visible=False, elem_classes="found"))
            with gr.Row():
                self.name = gr.Textbox(label="Name of the run", min_width=160)
                self.size = gr.Dropdown(
                    list(SIZES), label="Training size in pixels", value=SIZES[0], min_width=160
                )
                self.minutes = gr.Textbox(
                    label="Minutes at most", placeholder="no limit", min_width=160
                )
            with gr.Accordion("More settings", open=False):
                self.settings = gr.Textbox(
                    label="Settings, one a line",
                    lines=3,
                    placeholder="train.steps=5000",
                    info="KEY.PATH=VALUE; introshift settings lists them all",
                )
            with gr.Row():
                self.look = gr.Button("Look and plan", min_width=160)
                self.start = gr.Button("Start the training", variant="primary", min_width=160)
            self.plan = gr.Markdown(visible=False, elem_id="plan", elem_classes="facts")
        self.planned = gr.State(None)
        self.proposed = gr.State("")  # the name that the page has proposed last

    def _add_run(self) -> None:
        """Add what shows a training."""
        self.run = gr.Dropdown([], label="Training", value=None, interactive=True)
        self.state = gr.HTML(nothing_yet(), elem_id="run-state", padding=False)
        with gr.Row():
            self.stop = gr.Button("Stop and keep the model", interactive=False, min_width=160)
            self.resume = gr.Button("Resume", interactive=False, min_width=160)
        with gr.Row(visible=False) as self.course:
            with gr.Column(min_width=320):
                gr.Markdown("### What it makes of training pictures")
                self.grid = gr.Image(
                    label="Grid",
                    show_label=False,
                    format="png",
                    interactive=False,
                    buttons=[],
                    elem_id="grid",
                )
                self.place = gr.Slider(1, 2, 1, step=1, label="Grid", visible=False, buttons=[])
            with gr.Column(min_width=320):
                gr.Markdown("### How near to the target")
                self.curves = gr.HTML(elem_id="curves", padding=False)
        with gr.Accordion("Try the present model on a picture", open=False):
            with gr.Row():
                self.picture = gr.Image(
                    label="Picture",
                    type="filepath",
                    sources=["upload", "clipboard"],
                    height=260,
                    min_width=200,
                    elem_id="attempt",
                )
                self.translation = gr.Image(
                    label="Translation",
                    format="png",
                    interactive=False,
                    height=260,
                    min_width=200,
                    elem_id="attempt-translation",
                )
            with gr.Row():
                self.to = gr.Dropdown([], label="To", min_width=160)
                self.attempt = gr.Button("Translate it", min_width=160)
        with gr.Accordion("The command and what it prints", open=False):
            self.command = gr.Code(
                label="In a terminal this is",
                language="shell",
                interactive=False,
                lines=1,
                wrap_lines=True,
            )
            self.printed = gr.Textbox(
                label="Printed", lines=8, max_lines=20, interactive=False, autoscroll=True
            )
        self.shown = gr.State(Shown())
        self.chosen = gr.State(None)  # the grid that was chosen, counted from 1; None: the newest
        self.timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)

    def _connect(self, page: gr.Blocks) -> None:
        """Say which event does what."""
        silent: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        own: dict[str, Any] = {"api_visibility": "private"}
        page.load(self._open, None, [*self.folders, self.run, self.beginning], **silent)

        for folder, found in zip(self.folders, self.found, strict=True):
            folder.change(self._survey, folder, found, **silent)
            folder.change(
                self._propose_name,
                [self.name, self.proposed, *self.folders],
                [self.name, self.proposed],
                **silent,
            )

        seen = [self.run, self.chosen, self.shown]
        watched: list[Any] = [
            self.state,
            self.stop,
            self.resume,
            self.course,
            self.grid,
            self.place,
            self.curves,
            self.to,
            self.command,
            self.printed,
            self.timer,
            self.shown,
        ]
        chosen = [
            *self.folders,
            self.name,
            self.size,
            self.minutes,
            self.settings,
            self.planned,
        ]
        self.look.click(self._plan, chosen, [self.plan, self.planned], **own)
        started = [self.plan, self.planned, self.run, self.beginning]
        self.start.click(self._start, chosen, started, **own).success(
            self._watch, seen, watched, **silent
        )
        self.run.change(lambda: None, None, self.chosen, **silent).then(
            self._watch, seen, watched, **silent
        )
        self.timer.tick(self._watch, seen, watched, concurrency_limit=4, **silent)
        chosen_grid = [self.grid, self.place, self.chosen]
        self.place.input(self._show_grid, [self.run, self.place], chosen_grid, **silent)
        self.stop.click(self._stop, self.run, None, **own).then(
            self._watch, seen, watched, **silent
        )
        self.resume.click(self._resume, self.run, None, **own).then(
            self._watch, seen, watched, **silent
        )
        self.attempt.click(
            self._translate, [self.run, self.picture, self.to], self.translation, **own
        )

    # -- a new training

    def _open(self) -> Updates:
        """Offer the folders and the runs that are there; the run at work is shown."""
        offered = list(picture_folders(self.workspace.folder))
        folders = [gr.update(choices=offered)] * 2
        shown = self._runs()
        return [*folders, shown, gr.Accordion(open=shown["value"] is None)]

    def _runs(self, chosen: Path | None = None) -> Any:
        """Offer the runs; without a chosen one the last that is at work, or that changed."""
        found = runs.find_runs(self.workspace.folder)
        working = [run for run in found if self.trainings.is_running(run)]
        chosen = chosen or next(iter([*working, *found]), None)
        names = [relative(self.workspace.folder, run) for run in found]
        return gr.update(
            choices=names,
            value=None if chosen is None else relative(self.workspace.folder, chosen),
        )

    @told
    def _survey(self, name: str | None) -> Any:
        """Count a folder's pictures and show some."""
        if not name:
            return gr.update(visible=False, value="")
        from translate.data.inspection import Surveys, advise, inspect_folder

        folder = confined(self.workspace.folder, name)
        seen = inspect_folder(folder)
        lines = [survey_in_words(seen), *advise(Surveys({folder.name: seen}))]
        text = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
        return gr.update(value=text + strip(folder, SAMPLES), visible=True)

    def _propose_name(self, own: str, before: str, *folders: str | None) -> Updates:
        """Name a run after its folders, unless it has been named; no run there has the name."""
        if own and own != before:
            return [gr.skip(), gr.skip()]
        words = [Path(folder).name for folder in folders if folder]
        stem = "-to-".join(words)[:50] or "run"
        name = stem
        number = 1
        while self._config(name).exists() or self._run(name).exists():
            number += 1
            name = f"{stem}-{number}"
        return [name, name]

    def _run(self, name: str) -> Path:
        """Return the run folder of a new run."""
        return confined(self.workspace.folder, f"{RUNS}/{name}")

    def _config(self, name: str) -> Path:
        """Return the config of a new run."""
        return confined(self.workspace.folder, f"{RUNS}/{name}.yaml")

    @told
    def _plan(self, *given: Any) -> Updates:
        """Look at the folders, time the training and write the config."""
        *chosen, planned = given
        choices = Choices(*chosen)
        return [gr.update(value=self._planned(choices, planned), visible=True), choices]

    def _planned(self, choices: Choices, before: Choices | None) -> str:
        """Plan a training; return what to expect of it as Markdown.

        Args:
            choices: What it is made of.
            before: What this page has planned before, whose config may be replaced.
        """
        if not choices.folders:
            raise ValueError("choose two folders of pictures")
        name = runs.check_name(choices.name or "")
        config = self._config(name)
        if config.exists() and (before is None or before.name != choices.name):
            raise ValueError(f"{RUNS}/{name}.yaml: exists already; choose another name")
        folders = [confined(self.workspace.folder, folder) for folder in choices.folders]
        train = runs.train_words(config, self._run(name), choices.options)
        init = runs.init_words(folders, config, choices.pixels)
        planned = runs.plan(init)["plan"]
        if choices.options != runs.TrainingOptions():
            planned["in_words"]["training"] = [training_in_words(runs.dry_run(train))]
        return plan_in_words(planned, [init, train])

    @told
    def _start(self, *given: Any) -> Updates:
        """Start the training, planned before or now, and show it."""
        *chosen, planned = given
        choices = Choices(*chosen)
        name = runs.check_name(choices.name or "")
        run = self._run(name)
        if any(run.glob(runs.STATES)):
            raise ValueError(f"{name}: is a run already; choose another name, or resume that one")
        plan = gr.skip()
        if planned != choices:
            plan = gr.update(value=self._planned(choices, planned), visible=True)
        self.trainings.start(run, runs.train_words(self._config(name), run, choices.options))
        return [plan, choices, self._runs(run), gr.Accordion(open=False)]

    # -- a training as it runs

    def _run_folder(self, name: str) -> Path:
        return confined(self.workspace.folder, name)

    @told
    def _stop(self, name: str) -> None:
        self.trainings.stop(self._run_folder(name))

    @told
    def _resume(self, name: str) -> None:
        run = self._run_folder(name)
        self.trainings.start(run, runs.resume_words(run))

    @told
    def _watch(self, name: str | None, chosen: int | None, shown: Shown) -> Updates:
        """Show what is new of a run; what has not changed is not sent again."""
        if not name:
            return [nothing_yet(), *[gr.skip()] * 9, gr.Timer(active=False), Shown()]
        run = self._run_folder(name)
        status = self.trainings.status(run)
        state = state_html(name, status)
        grids = read_grids(run, int(status.live.get("step", 0)))
        scores = f"{status.live.get('distances')} {status.live.get('kept')}"
        is_other = name != shown.run
        now = Shown(name, state, len(grids), scores)
        if now == shown:
            return [gr.skip()] * 12

        grid = place = gr.skip()
        if is_other or len(grids) != shown.grids:
            grid, place = self._grid_updates(run, grids, chosen)
        curves = gr.skip()
        if is_other or scores != shown.scores:
            curves = curves_html(run)
        can_resume = status.has_state and not status.running
        return [
            state,
            gr.update(interactive=status.running),
            gr.update(interactive=can_resume),
            gr.update(visible=bool(grids)),
            grid,
            place,
            curves,
            self._domains(run) if is_other or not shown.grids else gr.skip(),
            runs.last_command(run),
            runs.last_lines(run),
            gr.Timer(active=status.running),
            now,
        ]

    def _show_grid(self, name: str, place: int) -> Updates:
        """Show an earlier grid; the newest is followed."""
        run = self._run_folder(name)
        grids = read_grids(run, int(self.trainings.status(run).live.get("step", 0)))
        return [*self._grid_updates(run, grids, place), place if place < len(grids) else None]

    def _grid_updates(
        self, run: Path, grids: Sequence[tuple[int, str]], place: int | None
    ) -> tuple[Any, Any]:
        """Return the image and the slider for a grid, counted from 1; None is the newest."""
        count = len(grids)
        if not count:
            return None, gr.update(visible=False)
        place = count if place is None else min(max(1, place), count)
        step, path = grids[place - 1]
        newest = ", the newest" * (place == count)
        try:
            pixels = read_image(run / path).pixels
        except ImageError:  # a training that begins anew has removed it
            return gr.skip(), gr.skip()
        image = gr.update(
            value=pixels,
            alt_text=f"Grid of step {step}: pictures, reconstructions and translations",
        )
        slider = gr.update(
            maximum=max(2, count),
            value=place,
            label=f"Grid {place} of {count}: step {step}{newest}",
            visible=count > 1,
        )
        return image, slider

    def _domains(self, run: Path) -> Any:
        """Offer what a run's model translates to."""
        path = _present_model(run)
        if path is None:
            return gr.update(choices=[], value=None)
        names = self.workspace.info(relative(self.workspace.folder, path)).config.data.names
        return gr.update(choices=list(names), value=names[-1])

    @told
    def _translate(self, name: str | None, picture: str | None, to: str | None) -> UInt8:
        """Translate a picture by the model as it is now."""
        if not name or not picture:
            raise ValueError("choose a run, and give a picture")
        path = _present_model(self._run_folder(name))
        if path is None:
            raise ValueError(f"{name}: no model yet; there is one after its first score")
        from translate.inference.single import translate_picture

        predictor = self.workspace.predictor(relative(self.workspace.folder, path))
        pixels = translate_picture(predictor, Path(picture), to or None).pixels
        return to_channels(pixels.to_bytes() if isinstance(pixels, Levels) else pixels, 3)


def _present_model(run: Path) -> Path | None:
    """Return the newest model file of a run."""
    files = [path for path in (run / LAST_MODEL, run / RUN_MODEL) if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime, default=None)
