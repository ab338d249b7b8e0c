"""Evaluations of a model that lie below the folder: their figures in words, and their pages."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.io.files import walk
from translate.metrics.registry import METRICS

METRICS_FILE = "metrics.json"
PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """An evaluation's folder.

    Attributes:
        folder: Where it lies.
        directions: As of metrics.json.
    """

    folder: Path
    directions: list[dict[str, Any]]

    @property
    def page(self) -> Path:
        """The report for people."""
        return self.folder / PAGE


def find_report(folder: Path, sha256: str) -> Report | None:
    """Find the newest evaluation of a model below a folder, by the hash of the model's file."""
    found: list[tuple[float, Report]] = []
    for root, folders, names in walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if METRICS_FILE in names and PAGE in names:
            with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                path = Path(root, METRICS_FILE)
                about = json.loads(path.read_text(encoding="utf-8"))
                if about["model_sha256"] == sha256:
                    report = Report(Path(root), list(about["directions"]))
                    found.append((os.stat(path).st_mtime, report))
    return max(found, key=lambda item: item[0])[1] if found else None


def figures(report: Report) -> list[tuple[str, str, list[tuple[str, ...]]]]:
    """Return what was measured, for each direction.

    Returns:
        (direction, sentence that sums it up, rows); a row is a metric's name, its value, that of
        untranslated pictures and the outcome in words.
    """
    made = []
    for direction in report.directions:
        with suppress(AttributeError, TypeError):  # someone has edited the file
            made.append(_figures(direction))
    return made


def _figures(direction: dict[str, Any]) -> tuple[str, str, list[tuple[str, ...]]]:
    rows: list[tuple[str, ...]] = [
        (
            str(found.get("label", name)),
            _number(found.get("value")),
            _number((found.get("identity") or {}).get("value")),
            str(found.get("in_words", "")),
        )
        for name, found in direction["metrics"].items()
        if name in METRICS
    ]
    title = f"{direction.get('source')} to {direction.get('to')}"
    return title, str(direction.get("in_words", "")), rows


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else ""
