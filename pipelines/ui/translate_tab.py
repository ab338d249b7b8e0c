"""The tab that translates: pictures dropped, or a folder named, before and after."""

from __future__ import annotations

import hashlib
import html
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import gradio as gr

from pipelines.ui.display import large_copy, thumbnail
from pipelines.ui.errors import told
from pipelines.ui.jobs import Job
from pipelines.ui.paths import first_picture, picture_folders, some_pictures
from pipelines.ui.translation import Wish, archive, is_unlike, start_files, start_folder
from pipelines.ui.workspace import Workspace
from translate.inference.manifest import NO_PICTURE
from translate.io.images import ImageError
from translate.zoo import SHIPPED

if TYPE_CHECKING:
    from translate.inference.manifest import Entry

BY_LOOK = "by their look"
USUAL, RANDOM, LIKE = "the usual one", "random", "like a picture"
SCALES = {
    "what suits": "auto",
    "model size": "model",
    "keep detail": "detail",
    "full size": "native",
}
MOST_SEEDS = 2**31
MOST_SHOWN = 60  # pairs

MOST_EXAMPLES = 8
MOVE_EDGE = "percent => ({__type__: 'update', slider_position: percent})"
UNLIKE = "unlike the training pictures"

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
WATCHING: dict[str, Any] = {**PRIVATE, "concurrency_limit": None, "show_progress": "hidden"}
Update: TypeAlias = dict[Any, Any]


def _domain_image() -> gr.Image:
    """Return the place of a domain's picture."""
    return gr.Image(
        height=96, min_width=80, interactive=False, buttons=[], show_label=True, type="filepath"
    )


class TranslateTab:
    """The tab's components and what they do.

    Args:
        workspace: what it works with.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.job = gr.BrowserState("", storage_key="introshift-job")
        self.shown = gr.State([])  # inputs in the gallery, a pair of pictures each
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                self._add_inputs()
                self._add_choices()
            with gr.Column(scale=3, min_width=320):
                self._add_results()
        self._connect()

    def _add_inputs(self) -> None:
        self.files = gr.File(label="Drop pictures", file_count="multiple", height=150)
        with gr.Row():
            self.upload = gr.UploadButton(
                "A folder of yours", file_count="directory", size="sm", min_width=120
            )
            self.examples = gr.Button("Example pictures", size="sm", min_width=120)
        self.place = gr.Dropdown(
            self._folders(),
            value=None,
            label=f"or a folder below {self.workspace.folder.name}",
            allow_custom_value=True,
        )
        self.out = gr.Textbox(
            label="write into the folder",
            placeholder="empty: a zip file to download",
            visible=False,
        )

    def _add_choices(self) -> None:
        models = list(self.workspace.models())
        self.model = gr.Dropdown(models, value=models[0], label="Model")
        self.about = gr.Markdown()
        self.direction = gr.Radio([(BY_LOOK, "")], value="", label="Translate")
        with gr.Row(elem_classes="direction"):
            self.before = _domain_image()
            self.arrow = gr.Markdown("⇄", elem_classes="arrow")
            self.after = _domain_image()
        self.style = gr.Radio([USUAL, RANDOM, LIKE], value=USUAL, label="Style")
        with gr.Row(visible=False) as self.randomness:
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=120)
            self.dice = gr.Button("🎲 Another", min_width=100)
        self.exemplar = gr.File(label="A picture in the wanted style", height=120, visible=False)
        self.scale = gr.Radio(list(SCALES.items()), value="auto", label="Size")
        self.strength = gr.Slider(
            0.25,
            1.5,
            1.0,
            step=0.05,
            label="Strength",
            info="How much of the change is made",
            visible=False,
        )
        self.strip = gr.Checkbox(
            False,
            label="Strip metadata",
            info="Write no EXIF, XMP and the like: camera, place, author",
        )
        with gr.Row():
            self.go = gr.Button("Translate", variant="primary", min_width=120)
            self.cancel = gr.Button("Cancel", interactive=False, min_width=120)

    def _add_results(self) -> None:
        self.status = gr.HTML("Drop pictures: a model is ready.")
        self.slider = gr.ImageSlider(
            label="Before and after", interactive=False, visible=False, buttons=["fullscreen"]
        )
        self.edge = gr.Slider(
            0, 100, 50, step=1, label="Edge between before and after, in %", visible=False
        )
        self.caption = gr.Markdown(visible=False)
        self.gallery = gr.Gallery(
            label="All of them; choose one",
            columns=4,
            fit_columns=False,
            height="auto",
            elem_id="pairs",
            allow_preview=False,
            interactive=False,
            object_fit="contain",
            visible=False,
            buttons=[],
        )
        self.problems = gr.Markdown(visible=False)
        self.zip = gr.DownloadButton("Download all", visible=False)

    def _connect(self) -> None:
        self.results = [
            *(self.job, self.status, self.gallery, self.shown, self.slider, self.caption),
            *(self.edge, self.problems, self.zip, self.cancel),
        ]
        self.of_model = [
            *(self.about, self.strength, self.direction),
            *(self.before, self.arrow, self.after),
        ]
        wish = [
            *(self.model, self.direction, self.style, self.seed, self.exemplar),
            *(self.scale, self.strip, self.strength),
        ]
        given = [self.files, self.place, self.out, *wish]

        start = [self.files.upload, self.go.click, self.seed.submit]
        gr.on(start, self.translate, given, self.results, **WATCHING)
        self.upload.upload(
            self.translate, [self.upload, self.place, self.out, *wish], self.results, **WATCHING
        )
        self.examples.click(self.translate_examples, wish, self.results, **WATCHING)
        self.dice.click(lambda: random.randrange(MOST_SEEDS), None, self.seed, **PRIVATE).then(
            self.translate, given, self.results, **WATCHING
        )
        self.cancel.click(self.end, self.job, queue=False, **PRIVATE)
        self.gallery.select(
            self.select, [self.job, self.shown], [self.slider, self.edge, self.caption], **PRIVATE
        )
        # Gradio's own slider has no keys
        self.edge.input(None, self.edge, self.slider, js=MOVE_EDGE, **PRIVATE)
        self.model.change(self.choose_model, self.model, self.of_model, **PRIVATE)
        self.direction.change(
            self.choose_direction, [self.model, self.direction], self.of_model[3:], **PRIVATE
        )
        self.style.change(
            lambda style: (gr.update(visible=style == RANDOM), gr.update(visible=style == LIKE)),
            self.style,
            [self.randomness, self.exemplar],
            **PRIVATE,
        )
        self.place.change(
            lambda place: gr.update(visible=bool(place), value=place and f"{place}-translated"),
            self.place,
            self.out,
            **PRIVATE,
        )

    def attach(self, page: gr.Blocks, tab: gr.Tab) -> None:
        """Have the page show what is there when it is opened, and what this browser has begun."""
        gr.on([page.load, tab.select], self.refresh, None, [self.model, self.place], **PRIVATE)
        page.load(self.choose_model, self.model, self.of_model, **PRIVATE)
        page.load(self.reattach, self.job, self.results, **WATCHING)

    def refresh(self) -> tuple[Update, Update]:
        """Offer the models and folders that there are now."""
        models = list(self.workspace.models())
        return gr.update(choices=models), gr.update(choices=self._folders())

    def _folders(self) -> list[tuple[str, str]]:
        found = picture_folders(self.workspace.folder)
        return [(f"{name} ({count})", name) for name, count in found.items()]

    @told
    def choose_model(self, model: str) -> tuple[Update, ...]:
        """Show what a model does, and the directions that it knows."""
        config = self.workspace.info(model).config
        names = config.data.names
        if len(names) == 1:
            raise ValueError(f"{model}: knows {names[0]} alone: there is nothing to translate")
        about = f"*{SHIPPED[model].about}*" if model in SHIPPED else ""
        directions = _directions(names)
        chosen = directions[0][1]
        return (
            gr.update(value=about, visible=bool(about)),
            gr.update(value=1.0, visible=config.model.detail),
            gr.update(choices=directions, value=chosen),
            *self.choose_direction(model, chosen),
        )

    @told
    def choose_direction(self, model: str, direction: str) -> tuple[Update, Update, Update]:
        """Show pictures of the two domains, and an arrow between them."""
        names = self.workspace.info(model).config.data.names
        source, to = _parse(direction) or names[:2]
        images = [gr.update(value=self._example(model, name), label=name) for name in (source, to)]
        return images[0], gr.update(value="→" if direction else "⇄"), images[1]

    def _example(self, model: str, domain: str) -> Path | None:
        """Return a small picture of a domain, None where there is none at hand."""
        folder = self.workspace.domain_folder(model, domain)
        picture = None if folder is None else first_picture(folder)
        if picture is None:
            return None
        name = hashlib.sha256(str(picture).encode()).hexdigest()
        with suppress(ImageError):
            return thumbnail(picture, self.workspace.scratch / "examples", name)
        return None

    def _wish(  # noqa: PLR0913  (choices of the page)
        self,
        model: str,
        direction: str,
        style: str,
        seed: float,
        exemplar: str | None,
        scale: str,
        strip: bool,
        strength: float,
    ) -> Wish:
        """Read the choices of the page."""
        if style == LIKE and exemplar is None:
            raise ValueError("style like a picture: give the picture")
        source, to = _parse(direction) or ("", "")
        styles = {USUAL: "auto", RANDOM: "random", LIKE: exemplar or ""}
        return Wish(model, source, to, styles[style], int(seed or 0), scale, strip, strength)

    @told
    def translate(
        self, files: list[str] | None, place: str | None, out: str, *choices: Any
    ) -> Iterator[Update]:
        """Translate the files dropped, or else the folder named."""
        wish = self._wish(*choices)
        if files:
            job = start_files(self.workspace, [Path(file) for file in files], wish)
        elif place:
            job = start_folder(self.workspace, place, out, wish)
        else:
            raise ValueError("no pictures: drop some, or name a folder")
        yield from self._follow(job)

    @told
    def translate_examples(self, *choices: Any) -> Iterator[Update]:
        """Translate pictures that come with the model, or some of its training pictures."""
        wish = self._wish(*choices)
        names = self.workspace.info(wish.model).config.data.names
        folder = self.workspace.domain_folder(wish.model, wish.source or names[0])
        pictures = [] if folder is None else some_pictures(folder, MOST_EXAMPLES)
        if not pictures:
            raise ValueError(f"{wish.model}: no example pictures of it are at hand; drop your own")
        yield from self._follow(start_files(self.workspace, pictures, wish))

    def reattach(self, id: str | None) -> Iterator[Update]:
        """Follow the job that this browser has begun before, if it is still known."""
        job = self.workspace.jobs.get(id or "")
        if job is None:
            yield {self.job: ""}
        else:
            yield from self._follow(job)

    def end(self, id: str) -> None:
        """Cancel a job."""
        job = self.workspace.jobs.get(id)
        if job is not None:
            job.cancel()

    def _follow(self, job: Job) -> Iterator[Update]:
        """Show a job as it goes on; results as they come, and the first of them large."""
        yield {
            self.job: job.id,
            self.status: status_line(job, self.workspace),
            self.cancel: gr.update(interactive=True),
            self.zip: gr.update(visible=False),
            self.problems: gr.update(visible=False),
            self.gallery: gr.update(visible=False, value=[]),
            self.slider: gr.update(visible=False),
            self.edge: gr.update(visible=False),
            self.caption: gr.update(visible=False),
            self.shown: [],
        }
        shown: list[str] = []
        for _ in job.watch():
            update: Update = {self.status: status_line(job, self.workspace)}
            entries = [entry for entry in job.entries if entry.status == "ok"][:MOST_SHOWN]
            if [entry.path for entry in entries] != shown:
                first = not shown
                shown = [entry.path for entry in entries]
                update[self.shown] = shown
                update[self.gallery] = gr.update(visible=True, value=gallery_items(job, entries))
                if first:
                    update |= self._compare(job, entries[0])
            yield update
        yield self._end_of(job)

    def _end_of(self, job: Job) -> Update:
        """Show what became of a job."""
        failed = [
            f"- **{escaped(entry.path)}**: {escaped(entry.reason or '')}"
            for entry in job.entries
            if entry.status == "failed" or entry.reason == NO_PICTURE
        ]
        update: Update = {
            self.status: status_line(job, self.workspace),
            self.cancel: gr.update(interactive=False),
            self.problems: gr.update(visible=bool(failed), value="\n".join(failed)),
        }
        if job.in_scratch and any(entry.status == "ok" for entry in job.entries):
            update[self.zip] = gr.update(visible=True, value=archive(job))
        return update

    @told
    def select(self, id: str, shown: list[str], chosen: gr.SelectData) -> Update:
        """Show a pair of the gallery large."""
        job = self.workspace.jobs.get(id)
        entries = [] if job is None else job.entries
        path = shown[chosen.index // 2]
        entry = next((entry for entry in entries if entry.path == path), None)
        if job is None or entry is None:
            raise ValueError("the server has forgotten these pictures; translate them again")
        return self._compare(job, entry)

    def _compare(self, job: Job, entry: Entry) -> Update:
        """Show a picture and its translation large, with a slider between them."""
        pair = [large_copy(*copy) for copy in copies(job, entry)]
        size = " x ".join(map(str, entry.size or ()))
        said = [f"**{escaped(entry.path)}**", size]
        if is_unlike(entry.warnings):
            said.append(f"⚠ {UNLIKE}")
        said += [escaped(text) for text in entry.warnings if not is_unlike([text])]
        return {
            self.slider: gr.update(value=tuple(pair), visible=True),
            self.edge: gr.update(visible=True),
            self.caption: gr.update(value=" · ".join(said), visible=True),
        }


def _directions(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return labels and values of the directions between domains; "" is by the pictures' look."""
    ways = [(f"{source} → {to}", f"{source}\n{to}") for source, to in permutations(names, 2)]
    return [(BY_LOOK, ""), *ways] if len(names) == 2 else ways


def _parse(direction: str) -> tuple[str, str] | None:
    """Return source and target of a direction's value, None where looks decide."""
    source, _, to = direction.partition("\n")
    return (source, to) if to else None


def copies(job: Job, entry: Entry) -> Iterator[tuple[Path, Path, str]]:
    """Yield for an input and its translation: the file, the folder of its copies, their name."""
    for kind, path in (("in", job.folder / entry.path), ("out", job.out / entry.outputs[0])):
        yield path, job.scratch / "shown" / kind, entry.path


def gallery_items(job: Job, entries: Sequence[Entry]) -> list[tuple[Path, str]]:
    """Return the pairs of a gallery, small, with their captions."""
    items = []
    for entry in entries:
        before, after = (thumbnail(*copy) for copy in copies(job, entry))
        badge = f" ⚠ {UNLIKE}" if is_unlike(entry.warnings) else ""
        items += [(before, entry.path), (after, f"→ {job.to}{badge}")]
    return items


def status_line(job: Job, workspace: Workspace) -> str:
    """Say how far a job is, as HTML."""
    total = job.total or 1
    failed = sum(entry.status == "failed" for entry in job.entries)
    counts = f"{job.done:.0f} of {job.total} to {job.to}" if job.total else ""
    said = {
        "waiting": f"waiting for {workspace.jobs.before(job)} before it",
        "running": counts or "loading the model",
        "cancelled": f"cancelled: {counts}",
        "failed": "",
        "done": f"{job.done - failed:.0f} translated to {job.to}"
        + f", {failed} failed" * bool(failed),
    }[job.state]
    if job.state == "done" and not job.in_scratch:
        said += f"; in {job.out}"
    bar = f'<progress max="{total}" value="{job.done}" aria-label="done"></progress>'
    message = "".join(f"<p>{html.escape(line)}</p>" for line in job.message.splitlines())
    facts = f'role="status" data-job="{job.id}" data-state="{job.state}"'
    return f"<div {facts}>{'' if job.over else bar} {html.escape(said)}{message}</div>"


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~-])", r"\\\1", text)


def add_translate_tab(workspace: Workspace, page: gr.Blocks, tab: gr.Tab) -> None:
    """Add what the tab shows, inside the tab."""
    TranslateTab(workspace).attach(page, tab)
