"""The page: a tab for each thing to do, and the API that Gradio publishes.

It is private: what Gradio would send home or load from elsewhere is off, and the typefaces are the
system's. No route is added to Gradio's own, whose login guards all of them; a page to be embedded
goes into a component as text, such as the `srcdoc` of a sandboxed iframe.
"""

from __future__ import annotations

import os

import gradio as gr

from pipelines.ui.workspace import Workspace

TITLE = "introshift"
SYSTEM_FONTS = ("system-ui", "sans-serif")
SYSTEM_MONOSPACE = ("ui-monospace", "monospace")


def build_page(workspace: Workspace) -> gr.Blocks:
    """Build the page of a workspace."""
    # Gradio reads both when the page and its components are made
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.scratch / "gradio")
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}")
    return page


def theme() -> gr.themes.Base:
    """Return the look of the page, with typefaces that the machine has."""
    return gr.themes.Default(font=SYSTEM_FONTS, font_mono=SYSTEM_MONOSPACE)
