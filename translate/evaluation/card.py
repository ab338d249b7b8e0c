"""A model's card: what it knows, how good it is and where its limits are, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from translate.evaluation.results import MetricValue
from translate.evaluation.wording import interval, number
from translate.models.metadata import ModelInfo

METRICS = "metrics.json"  # of an evaluation's report
NOT_SAID = "Not stated by its author."


@dataclass(frozen=True)
class Report:
    """What an evaluation has measured, read from its folder.

    Attributes:
        folder: of the report.
        values: the content of metrics.json.
    """

    folder: Path
    values: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Report:
        """Read the report in a folder.

        Raises:
            ValueError: where there is none.
        """
        file = folder / METRICS
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            assert isinstance(values["directions"], list)
            return cls(folder, values)
        except (OSError, ValueError, KeyError, TypeError, AssertionError):
            raise ValueError(
                f"{file}: not the figures of an evaluation; make them with introshift evaluate "
                "MODEL TEST_A TEST_B --out FOLDER"
            ) from None

    @property
    def grid(self) -> Path | None:
        """The picture of the first direction: inputs above their translations."""
        return next(iter(sorted(self.folder.glob("grid_*.png"))), None)


def model_card(
    info: ModelInfo, address: str, report: Report | None, grid: str | None, licence: str | None
) -> str:
    """Write the card of a model.

    Args:
        info: what its file says.
        address: where it can be fetched from, hf://USER/NAME.
        report: its evaluation.
        grid: name of a picture beside the card.
        licence: a licence's short name on hubs, such as mit; None where nothing is said.
    """
    data = info.config.data
    names = data.names
    one = len(names) == 1
    front_matter: dict[str, Any] = {
        "library_name": "introshift",
        "pipeline_tag": "unconditional-image-generation" if one else "image-to-image",
        "tags": ["introshift", "soft-introvae", "unpaired-image-translation"],
    }
    if licence:
        front_matter["license"] = licence

    environment = Environment(
        loader=PackageLoader("translate.evaluation"),
        autoescape=False,  # noqa: S701  (Markdown)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    summary = info.summary
    return environment.get_template("card.md").render(
        front_matter=yaml.safe_dump(front_matter, sort_keys=False),
        title=_plain(address.rpartition("/")[2]),
        about=_about(names),
        grid=grid,
        grid_caption=f"Unseen pictures and what the model makes of them ({_plain(names[0])})",
        command=f"sample {address} drawn" if one else f"translate {address} MY_PICTURES translated",
        address=address,
        counts={_plain(name): count for name, count in dict(summary.get("images", {})).items()},
        size=data.size,
        colours="gray" if data.channels == 1 else "colour",
        parameters=f"{info.parameters:,}",
        kept=summary.get("best_step", "?"),
        steps=summary.get("step", "?"),
        minutes=f"{float(summary.get('seconds', 0)) / 60:.0f}",
        seed=summary.get("seed", "?"),
        version=dict(summary.get("versions", {})).get("introshift", "?"),
        directions=[_direction(found) for found in report.values["directions"]] if report else [],
        warnings=[_plain(str(warning)) for warning in summary.get("warnings", [])],
        licence=licence or NOT_SAID,
    )


def _about(names: Sequence[str]) -> str:
    quoted = [f"`{_plain(name)}`" for name in names]
    if len(quoted) == 1:
        return f"Draws new pictures like those of {quoted[0]}; a model of introshift."
    pairs = " and ".join([", ".join(quoted[:-1]), quoted[-1]])
    return f"Translates pictures between {pairs}, any way round; a model of introshift."


def _direction(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": _plain(found["source"]),
        "to": _plain(found["to"]),
        "rows": [
            _row(name, value)
            for name, value in found["metrics"].items()
            if value.get("identity") and not value.get("warning")
        ],
    }


def _row(name: str, found: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a metric, in decimals that its interval leaves certain."""
    value = _metric(found)
    untranslated = _metric(found["identity"])
    return {
        "name": name,
        "label": str(found.get("label", name)),
        "value": number(value.value, value),
        "interval": interval(value),
        "untranslated": number(untranslated.value, untranslated),
        "words": str(found.get("in_words", "")),
    }


def _metric(found: dict[str, Any]) -> MetricValue:
    return MetricValue(found["value"], found["low"], found["high"], found["n"], found["better"])


def _plain(text: str) -> str:
    """Return a text on one line that ends no Markdown code and opens no table cell."""
    return " ".join(text.split()).replace("`", "'").replace("|", "/").replace("<", "&lt;")
