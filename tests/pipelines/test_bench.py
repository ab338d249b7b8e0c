"""`introshift bench`: what is measured adds up."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.bench import gpu
from tests._helpers.commands import call
from tests._helpers.folders import draw, pixels
from tests._helpers.things import write_things
from translate.metrics.lpips import ENVIRONMENT

SMALL = [f"--set={key}" for key in ("model.width=8", "data.size=16", "train.batch_size=2")]


def test_translation_is_compared_with_the_model_and_with_its_parts(model: Path) -> None:
    few = ("--images", 4, "--size", 16, "--photos", 1, "--json")
    code, out, err = call("bench", "translate", model, *few)
    assert code == 0, err
    measured = json.loads(out)
    png = measured["png"]
    rates = png["images_per_second"] / png["model_images_per_second"]
    assert png["share"] == pytest.approx(rates)
    jpeg = measured["jpeg"]
    parts = sum(jpeg[part] for part in ("decode", "resize", "model", "encode"))
    assert jpeg["times_its_parts"] == pytest.approx(jpeg["seconds"] * measured["cores"] / parts)


def test_translation_as_a_table(model: Path) -> None:
    few = ("--images", 4, "--size", 16, "--photos", 1)
    code, out, err = call("bench", "translate", model, *few)
    assert code == 0, err
    for name in ("4 PNGs", "1 JPEGs", "images/s", "share", "decode", "encode"):
        assert name in out


def test_a_training_step_s_passes_and_time_are_counted() -> None:
    code, out, err = call("bench", "train", "--steps", 2, "--json", *SMALL)
    assert code == 0, err
    measured = json.loads(out)
    assert measured["warm-up"]["passes"] == {"content": 1, "style": 1, "decoder": 1}
    # Introspective: content of x and t; style of x, of t and of x taken for the other domain;
    # decoded are x again, t, and x by way of t.
    assert measured["game"]["passes"] == {"content": 2, "style": 3, "decoder": 3}
    for phase in ("warm-up", "game"):
        assert sum(measured[phase]["share"].values()) == pytest.approx(1)
        assert 0 < measured[phase]["gflops"] < 3 * measured["matrix_gflops"]


def test_a_training_step_as_tables() -> None:
    code, out, err = call("bench", "train", "--steps", 1, *SMALL)
    assert code == 0, err
    for title in ("warm-up", "introspective"):
        assert sum(line.startswith(title) for line in out.splitlines()) == 3


def test_an_unknown_precision_is_refused() -> None:
    code, _, err = call("bench", "train", "--precision", "': x")
    assert code == 2
    assert "train.precision" in err


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_trainings_side_by_side_fill_a_table_that_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: bool
) -> None:
    if not processes:  # to start them takes longer than all that they do
        monkeypatch.setattr(gpu, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))
    data = tmp_path / "blobs"
    for i, folder in enumerate(("trainA", "trainB", "testA", "testB")):
        for k in range(8):
            draw(data / folder / f"{k}.png", 24, 24, seed=8 * i + k)
    tiny = ("--set=model.width=8", "--set=train.batch_size=2", "--set=train.log_every=1")
    options = ("--sizes", "16,24", "--steps", 8, "--parallel", 2, "--device", "cpu", *tiny)
    code, out, err = call("bench", "gpu", data, "--out", tmp_path / "out", *options, "--json")
    assert code == 0, err
    measured = json.loads(out)
    assert [row["size"] for row in measured["rows"]] == [16, 24]
    for row in measured["rows"]:
        assert row["steps"] == 8
        assert row["images_per_second"] > 0
        assert 0 < row["gflops"] < 3 * measured["matrix_gflops"]
        assert row["memory_mib"] > 100
        assert [quality["direction"] for quality in row["quality"]] == ["A-B", "B-A"]

    code, out, err = call("bench", "gpu", data, "--out", tmp_path / "out", *options)
    assert code == 0, err
    assert err.count("done before") == 2
    assert out.count("blobs") == 2


def test_sizes_that_are_none_are_refused(tmp_path: Path) -> None:
    code, _, err = call("bench", "gpu", tmp_path, "--out", tmp_path / "out", "--sizes", "128;256")
    assert code == 2
    assert "--sizes 128;256" in err


@pytest.mark.usefixtures("no_lpips_weights")
def test_lpips_needs_weights(tmp_path: Path) -> None:
    code, _, err = call("bench", "train", "--set=objective.lambda_lpips=0.3", *SMALL)
    assert code == 2
    assert "objective.lambda_lpips: no weights" in err
    write_things(tmp_path)
    code, _, err = call("bench", "cars3d", tmp_path, tmp_path / "out")
    assert code == 2
    assert "--lpips-weights" in err


def test_content_and_style_are_exchanged_beside_what_must_be_beaten(
    tmp_path: Path, lpips_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(lpips_weights))  # of the training
    things = tmp_path / "things"
    things.mkdir()
    write_things(things, held_out=("green", "blue"))
    out = tmp_path / "out"
    sizes = ("data.size=16", "model.width=8", "model.condition=8", "model.style_patch=8")
    tiny = [f"--set={key}" for key in (*sizes, "train.steps=4", "train.batch_size=4")]
    options = ("--pairs", 6, "--lpips-weights", lpips_weights, "--device", "cpu", "--json")
    code, printed, err = call("bench", "cars3d", things, out, *tiny, *options)
    assert code == 0, err
    measured = json.loads(printed)
    assert measured == json.loads((out / "exchange.json").read_text(encoding="utf-8"))
    answers = measured["answers"]
    assert list(answers) == [
        "mean of the training pictures",
        "content as it is",
        "style as it is",
        "nearest view of the style's thing",
        "introshift",
        "LORD, with labels",
    ]
    nearest = answers["nearest view of the style's thing"]["lpips_paired"]["value"]
    assert 0 < nearest < answers["content as it is"]["lpips_paired"]["value"]
    assert measured["seconds"].keys() == {"introshift", "LORD, with labels"}

    truth = pixels(out / "pictures" / "truth" / "0005.png")
    content = pixels(out / "pictures" / "content_as_it_is" / "0005.png")
    assert truth.shape == content.shape == (16, 16, 4)
    assert (truth != content).any()
    assert pixels(out / "introshift.png").shape == pixels(out / "lord.png").shape

    again = tmp_path / "again"
    trained = ("--model", out / "run", "--set=train.steps=2")
    code, printed, err = call("bench", "cars3d", things, again, *trained, *options)
    assert code == 0, err
    measured = json.loads(printed)
    assert measured["answers"]["content as it is"] == answers["content as it is"]
    assert measured["seconds"].keys() == {"LORD, with labels"}

    code, _, err = call("bench", "cars3d", things, out, *tiny, *options)
    assert code == 2
    assert "is not empty" in err
