"""`introshift evaluate` and `compare`: exit codes, files, messages, broken pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests._helpers.commands import call
from tests._helpers.folders import shorten
from translate.models.checkpoint import load_tensors, save_tensors
from translate.models.metadata import HASH, KEY

pytestmark = pytest.mark.usefixtures("no_lpips_weights")


@pytest.fixture
def model(model_file: Callable[..., Path], tmp_path: Path) -> Path:
    """A model in the folder of a run that logged something."""
    (tmp_path / "stats.jsonl").write_text('{"step": 1, "rec": 2.0}\n{"step": 2, "rec": 1.0}\n')
    return model_file()


def test_all_files_of_a_report(model: Path, data: Path, tmp_path: Path) -> None:
    code, out, err = call("evaluate", model, data, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    names = {"metrics.json", "per_image.csv", "report.html", "grid_A_to_B.png", "grid_B_to_A.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name in names:
        assert name in err
    printed = json.loads(out)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert printed["model_sha256"] == written["model_sha256"]

    with (tmp_path / "out" / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    for direction in written["directions"]:
        metric = direction["metrics"]["l1"]
        assert metric["low"] <= metric["value"] <= metric["high"]
        assert metric["n"] == 6
        assert metric["identity"]
        values = [float(row["l1"]) for row in rows if row["direction"] == direction["name"]]
        assert sum(values) / 6 == pytest.approx(metric["value"], rel=1e-5)
    assert 'id="curves"' in (tmp_path / "out" / "report.html").read_text()


def test_several_thresholds_exit_3_and_name_what_missed(model: Path, data: Path) -> None:
    fail = ("--fail-if", "l1>0", "--fail-if", "ssim>1", "--fail-if", "A-B:ssim<1")
    code, _, err = call("evaluate", model, data, *fail)
    assert code == 3
    missed = [line for line in err.splitlines() if line.startswith("missed: ")]
    assert [line.split()[1:3] for line in missed] == [
        ["l1>0:", "A-B"],
        ["l1>0:", "B-A"],
        ["A-B:ssim<1:", "A-B"],
    ]
    code, _, err = call("evaluate", model, data, "--fail-if", "l1>1")
    assert code == 0, err


def test_equal_folders_miss_no_threshold(trained: Path) -> None:
    data = trained / "data"
    code, _, err = call("compare", data / "testA", data / "testB", "--fail-if", "l1>0")
    assert code == 0, err


def test_broken_pictures_are_listed_and_exit_1(model: Path, data: Path, tmp_path: Path) -> None:
    shorten(data / "testA" / "001.png")
    code, _, err = call("evaluate", model, data, "--to", "B", "--out", tmp_path / "out")
    assert code == 1
    [failure] = [line for line in err.splitlines() if line.startswith("failed ")]
    assert "001.png" in failure
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(written["broken"]) == 1
    assert written["directions"][0]["metrics"]["l1"]["n"] == 5
    assert "001.png" in (tmp_path / "out" / "report.html").read_text()


def test_a_missed_threshold_goes_before_broken_pictures(model: Path, data: Path) -> None:
    shorten(data / "testA" / "001.png")
    code, _, _ = call("evaluate", model, data, "--fail-if", "l1>0")
    assert code == 3


def test_pictures_without_a_partner_need_allow_missing(data: Path) -> None:
    shorten(data / "testA" / "001.png")
    code, _, err = call("compare", data / "testA", data / "testB")
    assert code == 2
    assert "--allow-missing" in err
    code, _, _ = call("compare", data / "testA", data / "testB", "--allow-missing")
    assert code == 1


def test_a_folder_of_broken_pictures(model: Path, data: Path, tmp_path: Path) -> None:
    broken = list((data / "testA").iterdir())
    for path in broken:
        path.write_bytes(b"broken")
    code, _, err = call("evaluate", model, data, "--out", tmp_path / "out")
    assert code == 1, err
    assert err.count("failed ") == len(broken)
    html = (tmp_path / "out" / "report.html").read_text()
    for path in broken:
        assert path.name in html


def test_a_metric_that_cannot_be_measured_is_missed(model: Path, data: Path) -> None:
    for path in (data / "testA").iterdir():
        path.write_bytes(b"broken")
    code, _, err = call("evaluate", model, data, "--to", "B", "--fail-if", "l1>0.5")
    assert code == 3
    [missed] = [line for line in err.splitlines() if line.startswith("missed: ")]
    assert "A-B" in missed
    assert "l1" in missed


def test_progress_and_notes_stay_off_stdout(model: Path, data: Path) -> None:
    code, out, err = call("compare", data / "testA", data / "testB", "--json")
    assert code == 0
    assert json.loads(out)["directions"]
    assert "6 of 6" in err
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert any("LPIPS" in note and "--lpips-weights" in note for note in notes)


def test_evaluate_takes_the_config_s_network_unless_another_is_named(
    model_file: Callable[..., Path], data: Path
) -> None:
    path = model_file()
    tensors, metadata = load_tensors(path)
    about = json.loads(metadata[KEY])
    about["config"]["evaluate"]["lpips_net"] = "squeeze"
    del about[HASH]
    save_tensors(path, tensors, {KEY: json.dumps(about)})
    _, _, err = call("evaluate", path, data)
    assert "squeeze" in err
    _, _, err = call("evaluate", path, data, "--lpips-net", "vgg")
    assert "vgg" in err
    assert "squeeze" not in err
