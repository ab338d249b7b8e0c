"""The tab Models: what a model knows, how good it is, what it draws, and its export."""

from __future__ import annotations

import html
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import gradio as gr

from pipelines.ui.display import strip
from pipelines.ui.errors import told
from pipelines.ui.markdown import inert, literal, table
from pipelines.ui.reports import Report, figures, find_report
from pipelines.ui.workspace import Workspace
from translate.io.files import sha256
from translate.models.description import BESIDE, describe
from translate.training.live import read_live
from translate.zoo import SHIPPED

if TYPE_CHECKING:
    from translate.io.images import UInt8

Updates: TypeAlias = list[Any]  # one for each component that an event changes

SAMPLES = 6  # pictures of a domain that are shown
DRAWN = 24  # new pictures that are drawn at a time
COLUMNS = 8  # of them
SWAPPED = 6  # contents, and styles
LARGEST_PAGE = 50_000_000  # bytes of a report that are shown within the page
FORMATS = ("onnx", "pt2")


def add_models_tab(workspace: Workspace, page: gr.Blocks, tab: gr.Tab) -> None:
    """Add what the tab shows, inside the tab."""
    _ModelsTab(workspace, page, tab)


class _ModelsTab:
    """The components and what they do."""

    def __init__(self, workspace: Workspace, page: gr.Blocks, tab: gr.Tab) -> None:
        self.workspace = workspace
        self._add_components()
        self._connect(page, tab)

    def _add_components(self) -> None:
        self.model = gr.Dropdown([], label="Model", interactive=True)
        with gr.Row():
            with gr.Column(min_width=300):
                self.about = gr.Markdown(elem_id="about-model", elem_classes="facts")
            with gr.Column(min_width=300):
                self.pictures = gr.HTML(elem_id="domains", padding=False)
        self.figures = gr.Markdown(elem_id="figures")
        with gr.Accordion("Its card", open=False, visible=False) as self.card_place:
            self.card = gr.Markdown()
        with gr.Row():
            self.source = gr.Dropdown([], label="From", min_width=160)
            self.to = gr.Dropdown([], label="To", min_width=160)
        with gr.Accordion("Every content in every style", open=False):
            gr.Markdown("Rows keep the style, columns keep the content.")
            self.draw_swap = gr.Button("Draw")
            self.swap = gr.Image(
                label="Contents along the top, styles down the left",
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="swap",
            )
        with gr.Accordion("New pictures", open=False):
            gr.Markdown(
                "Drawn as of the domain *To*: the content of its pictures in random styles."
            )
            with gr.Row():
                self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=160)
                self.draw_samples = gr.Button("Draw")
            self.samples = gr.Image(
                label="New pictures",
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="samples",
            )
        with gr.Accordion("Evaluation report", open=False, visible=False) as self.report_place:
            self.report = gr.HTML(elem_id="report")
        with gr.Accordion("Export for other programs", open=False):
            gr.Markdown(
                "The translation between the two domains as one graph: ONNX, or an archive of "
                "`torch.export`."
            )
            with gr.Row():
                self.format = gr.Radio(list(FORMATS), value=FORMATS[0], label="Format")
                self.do_export = gr.Button("Export")
            self.exported = gr.File(label="Exported file", interactive=False, visible=False)

    def _connect(self, page: gr.Blocks, tab: gr.Tab) -> None:
        """Say which event does what."""
        silent: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        own: dict[str, Any] = {"api_visibility": "private"}
        gr.on([page.load, tab.select], self._open, self.model, self.model, **silent)
        described = [
            self.about,
            self.pictures,
            self.figures,
            self.card_place,
            self.card,
            self.source,
            self.to,
            self.swap,
            self.samples,
            self.report_place,
            self.report,
            self.exported,
        ]
        self.model.change(self._describe, self.model, described, **silent)
        direction = [self.model, self.source, self.to]
        self.draw_swap.click(self._swap, direction, self.swap, **own)
        self.draw_samples.click(
            self._samples, [self.model, self.to, self.seed], self.samples, **own
        )
        self.do_export.click(self._export, [*direction, self.format], self.exported, **own)

    def _open(self, chosen: str | None) -> Any:
        """Offer the models that are there."""
        names = list(self.workspace.models())
        return gr.update(choices=names, value=chosen if chosen in names else names[0])

    @told
    def _describe(self, name: str | None) -> Updates:
        """Say what a model is."""
        if not name:
            return [gr.skip()] * 12
        path = self.workspace.model(name)
        info = self.workspace.info(name)
        data = info.config.data
        card = path.parent / BESIDE["card"]
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        pictures = [
            f"<p>{html.escape(domain)}</p>{strip(folder, SAMPLES)}"
            for domain in data.names
            if (folder := self.workspace.domain_folder(name, domain))
        ]
        report = find_report(self.workspace.folder, sha256(path))
        page = _embedded(report) if report else ""
        names = list(data.names)
        return [
            table((label, [text]) for label, text in describe(path, info)),
            "".join(pictures),
            _figures(path, report, name in SHIPPED),
            gr.update(visible=bool(text)),
            text if name in SHIPPED else inert(text),
            gr.update(choices=names, value=names[0]),
            gr.update(choices=names, value=names[-1]),
            None,
            None,
            gr.update(visible=bool(page)),
            page,
            gr.update(visible=False, value=None),
        ]

    def _folder(self, name: str, domain: str) -> Path:
        """Return a folder with pictures of a domain."""
        folder = self.workspace.domain_folder(name, domain)
        if folder is None:
            raise ValueError(f"{domain}: its pictures are not below {self.workspace.folder}")
        return folder

    @told
    def _swap(self, name: str, source: str, to: str) -> UInt8:
        """Draw every content in every style."""
        from translate.inference.styles import resolve_direction
        from translate.inference.swap import spread_of, swap_figure

        predictor = self.workspace.predictor(name)
        data = predictor.config.data
        direction = resolve_direction(data.names, to, source)
        contents = spread_of(self._folder(name, source), SWAPPED, data)
        styles = spread_of(self._folder(name, to), SWAPPED, data)
        return swap_figure(predictor.model, contents, styles, *direction)

    @told
    def _samples(self, name: str, to: str, seed: float) -> UInt8:
        """Draw new pictures of a domain."""
        from translate.inference.sampling import PRIOR, sample
        from translate.viz.grids import image_grid

        predictor = self.workspace.predictor(name)
        alone = predictor.config.model.one_latent
        content = PRIOR if alone else self._folder(name, to)
        drawn = list(sample(predictor, to, DRAWN, int(seed or 0), content))
        return image_grid([drawn[i : i + COLUMNS] for i in range(0, DRAWN, COLUMNS)])

    @told
    def _export(self, name: str, source: str, to: str, format: str) -> Any:
        """Write the translation to a domain as a graph, to be downloaded."""
        from translate.inference.export import SUFFIXES, export, parse_format

        chosen = parse_format(format)
        stem = Path(name).name.removesuffix(".safetensors")
        folder = self.workspace.scratch / "exports" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        path = folder / f"{stem}_{source}_to_{to}{SUFFIXES[chosen]}"
        export(self.workspace.predictor(name), to, source, path, chosen)
        return gr.update(value=str(path), visible=True)


def _figures(path: Path, report: Report | None, shipped: bool) -> str:
    """Say how good a model is: by its evaluation, or else by what its training measured."""
    if report is None:
        live = read_live(path.parent) or {}
        if live.get("quality"):
            return (
                f"### How good it is\n{literal(str(live['quality']))}\n\nMeasured on held-out "
                "pictures of the training. `introshift evaluate` measures it on others."
            )
        return "" if shipped else "Not evaluated yet: `introshift evaluate` measures it."
    parts = ["### How good it is"]
    for title, sentence, rows in figures(report):
        parts.append(f"**{literal(title)}**: {literal(sentence)}")
        lines = ["| | value | untranslated | the translations are |", "|---|---:|---:|---|"]
        lines += [f"| {' | '.join(map(literal, row))} |" for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _embedded(report: Report) -> str:
    """Return a report's page in a frame: it may run its own script, and reach nothing of this page.

    Its bytes come with this page's own answers, so that no other address serves them.
    """
    if report.page.stat().st_size > LARGEST_PAGE:
        return f"<p>{html.escape(str(report.page))}: too large to be shown here.</p>"
    text = report.page.read_text(encoding="utf-8", errors="replace")
    return (
        f'<iframe sandbox="allow-scripts" title="Evaluation report" srcdoc="{html.escape(text)}" '
        'style="width: 100%; height: 80vh; border: 0; background: Canvas"></iframe>'
    )
