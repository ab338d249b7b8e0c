"""`introshift evaluate` and `compare` at the terminal: exit codes, what is said where, folders
with broken files.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from tests._helpers.folders import shorten
from translate.models.checkpoint import load_tensors, save_tensors
from translate.models.metadata import KEY

pytestmark = pytest.mark.usefixtures("no_lpips_weights")


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def model(model_file: Callable[..., Path], tmp_path: Path) -> Path:
    """A model in the folder of a run that logged something."""
    (tmp_path / "stats.jsonl").write_text('{"step": 1, "rec": 2.0}\n{"step": 2, "rec": 1.0}\n')
    return model_file()


def test_all_files_of_a_report(model: Path, data: Path, tmp_path: Path) -> None:
    done = call("evaluate", model, data, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.stderr
    names = {"metrics.json", "per_image.csv", "report.html", "grid_A_to_B.png", "grid_B_to_A.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert all(name in done.stderr for name in names)
    printed = json.loads(done.stdout)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert printed["model_sha256"] == written["model_sha256"]
    with (tmp_path / "out" / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    for way in written["directions"]:
        figure = way["metrics"]["l1"]
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert figure["n"] == 6
        assert figure["identity"]
        values = [float(row["l1"]) for row in rows if row["direction"] == way["name"]]
        assert sum(values) / 6 == pytest.approx(figure["value"], rel=1e-5)
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Training</h2>" in html
    assert "Every content in every style" in html


def test_several_thresholds_exit_3_and_name_what_missed(model: Path, data: Path) -> None:
    fail = ("--fail-if", "l1>0", "--fail-if", "ssim>1", "--fail-if", "A-B:ssim<1")
    done = call("evaluate", model, data, *fail)
    assert done.exit_code == 3
    missed = [line for line in done.stderr.splitlines() if line.startswith("missed: ")]
    assert [line.split()[1:3] for line in missed] == [
        ["l1>0:", "A-B"],
        ["l1>0:", "B-A"],
        ["A-B:ssim<1:", "A-B"],
    ]
    assert call("evaluate", model, data, "--fail-if", "l1>1").exit_code == 0


def test_broken_pictures_are_listed_and_exit_1(model: Path, data: Path, tmp_path: Path) -> None:
    shorten(data / "testA" / "001.png")
    done = call("evaluate", model, data, "--to", "B", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "001.png" in next(
        line for line in done.stderr.splitlines() if line.startswith("failed ")
    )
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(written["broken"]) == 1
    assert written["directions"][0]["metrics"]["l1"]["n"] == 5
    assert "001.png" in (tmp_path / "out" / "report.html").read_text()
    assert call("evaluate", model, data, "--fail-if", "l1>0").exit_code == 3, (
        "what was asked for goes first"
    )
    done = call("compare", data / "testA", data / "testB")
    assert done.exit_code == 2
    assert "--allow-missing" in done.stderr
    assert call("compare", data / "testA", data / "testB", "--allow-missing").exit_code == 1


def test_a_folder_of_broken_pictures(model: Path, data: Path, tmp_path: Path) -> None:
    for path in (data / "testA").iterdir():
        path.write_bytes(b"broken")
    done = call("evaluate", model, data, "--out", tmp_path / "out")
    assert done.exit_code == 1, done.stderr
    assert done.stderr.count("failed ") == 6
    html = (tmp_path / "out" / "report.html").read_text()
    assert "cannot be read" in html
    done = call("evaluate", model, data, "--to", "B", "--fail-if", "l1>0.5")
    assert done.exit_code == 3 and "A-B has no l1" in done.stderr, (
        "what cannot be checked is missed"
    )


def test_progress_and_words_stay_off_stdout(model: Path, data: Path) -> None:
    done = call("compare", data / "testA", data / "testB", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["directions"]
    assert "measuring: 6 of 6" in done.stderr
    assert "note: LPIPS is left out" in done.stderr


def test_evaluate_takes_the_config_s_network_unless_another_is_named(
    model_file: Callable[..., Path], data: Path
) -> None:
    path = model_file()
    tensors, metadata = load_tensors(path)
    about = json.loads(metadata[KEY])
    about["config"]["evaluate"]["lpips_net"] = "squeeze"
    save_tensors(path, tensors, {KEY: json.dumps(about)})
    assert "no weights for the LPIPS network squeeze" in call("evaluate", path, data).stderr
    done = call("evaluate", path, data, "--lpips-net", "vgg")
    assert "no weights for the LPIPS network vgg" in done.stderr
