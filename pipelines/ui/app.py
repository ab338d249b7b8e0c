"""The page: a tab for each thing to do, and the API that Gradio publishes.

It is private: what Gradio would send home or load from elsewhere is off, and the typefaces are the
system's. No route is added to Gradio's own, whose login guards all of them; a page to be embedded
goes into a component as text, such as the `srcdoc` of a sandboxed iframe.
"""

from __future__ import annotations

import os

import gradio as gr

from pipelines.ui.api import add_api
from pipelines.ui.translate_tab import add_translate_tab
from pipelines.ui.workspace import Workspace

TITLE = "introshift"
SYSTEM_FONTS = ("system-ui", "sans-serif")
SYSTEM_MONOSPACE = ("ui-monospace", "monospace")

CSS = """
.direction { align-items: center; flex-wrap: nowrap; }
.direction .arrow { flex: 0 0 2rem; min-width: 2rem; text-align: center; font-size: 1.5rem; }
.gradio-container { padding-inline: 0.75rem; }
progress { width: 100%; }
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
        with gr.Tab("Translate"):
            add_translate_tab(workspace, page)
    return page


def theme() -> gr.themes.Base:
    """Return the look of the page, with typefaces that the machine has."""
    return gr.themes.Default(font=SYSTEM_FONTS, font_mono=SYSTEM_MONOSPACE)
