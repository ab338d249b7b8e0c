"""The page: a tab for each thing to do, and the API that Gradio publishes.

It is private: what Gradio would send home or load from elsewhere is off, and the typefaces are the
system's. No route is added to Gradio's own, whose login guards all of them; a page to be embedded
goes into a component as text, such as the `srcdoc` of a sandboxed iframe.
"""

from __future__ import annotations

import os

import gradio as gr

from pipelines.ui.api import add_api
from pipelines.ui.models_tab import add_models_tab
from pipelines.ui.train_tab import add_train_tab
from pipelines.ui.translate_tab import add_translate_tab
from pipelines.ui.workspace import Workspace

TITLE = "introshift"
SYSTEM_FONTS = ("system-ui", "sans-serif")
SYSTEM_MONOSPACE = ("ui-monospace", "monospace")

CSS = """
.direction { align-items: center; flex-wrap: nowrap; }
.direction .arrow { flex: 0 0 2rem; min-width: 2rem; text-align: center; font-size: 1.5rem; }
.gradio-container { padding-inline: 0.75rem; }
progress {
  appearance: none; width: 100%; height: 0.5rem; border: 0; border-radius: 0.25rem;
  overflow: hidden; background: var(--border-color-primary);
}
::-webkit-progress-bar { background: var(--border-color-primary); }
::-webkit-progress-value { background: var(--color-accent); }
::-moz-progress-bar { background: var(--color-accent); }
.strip { display: flex; flex-wrap: wrap; gap: 0.25rem; margin-block: 0.5rem; }
.strip img { height: 4rem; max-width: 8rem; object-fit: contain; border-radius: 0.25rem; }
.facts thead { display: none; }
.facts table { width: 100%; }
.facts tr, .facts td { border-color: var(--border-color-primary) !important; }
.facts td:first-child { white-space: nowrap; width: 1%; }
#run-state ul { margin-block: 0.5rem; padding-inline-start: 1.75rem; list-style: disc; }
#run-state .advice { border-inline-start: 4px solid #d0493f; }
#run-state .remarks { border-inline-start: 4px solid var(--border-color-primary); }
#curves figure { margin: 0 0 1rem; }
#curves svg { width: 100%; max-width: 40rem; height: auto; }
#pairs .grid-wrap { min-height: 0; }
@media (max-width: 640px) {
  #pairs .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
"""


def build_page(workspace: Workspace) -> gr.Blocks:
    """Build the page of a workspace."""
    # Gradio reads both when the page and its components are made
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.uploads)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        add_api(workspace)  # first: the names of its endpoints are free
        gr.Markdown(f"# {TITLE}")
        with gr.Tab("Translate") as tab:
            add_translate_tab(workspace, page, tab)
        with gr.Tab("Train"):
            add_train_tab(workspace, page)
        with gr.Tab("Models") as tab:
            add_models_tab(workspace, page, tab)
    return page


def theme() -> gr.themes.Base:
    """Return the look of the page, with typefaces that the machine has."""
    return gr.themes.Default(font=SYSTEM_FONTS, font_mono=SYSTEM_MONOSPACE)
