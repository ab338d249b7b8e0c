"""The command line: the whole way at toy size, and what users get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from translate.io.images import read_image
from translate.training.trainer import TrainingDivergedError, TrainingInterruptedError

pytestmark = pytest.mark.usefixtures("no_lpips_weights")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call() -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return done.exit_code, done.stdout, done.stderr

    return run


def fill(folder: Path, count: int = 4, size: int = 16) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.linear_gradient("L").resize((size, size)).rotate(90 * i).save(folder / f"{i}.png")
    return folder


TINY: Sequence[str] = [
    word
    for setting in (
        "train.steps=4",
        "train.batch_size=2",
        "train.log_every=2",
        "model.width=8",
        "train.precision='32'",
    )
    for word in ("--set", setting)
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a config and a run."""
    root = tmp_path_factory.mktemp("cli")
    for split in ("trainA", "trainB", "testA", "testB"):
        fill(root / "data" / split)
    runner = CliRunner()
    folders = [str(root / "data" / name) for name in ("trainA", "trainB")]
    assert runner.invoke(app, ["init", *folders, "-o", str(root / "my.yaml")]).exit_code == 0
    done = runner.invoke(
        app, ["train", str(root / "my.yaml"), "--out", str(root / "run"), "--json", *TINY]
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 4
    assert "step 2" in done.stderr
    return root


def test_translate_keeps_names_and_sizes(trained: Path, tmp_path: Path, call: Call) -> None:
    fill(tmp_path / "in" / "deep", size=40)
    for to in "BA":
        code, out, _ = call(
            "translate",
            trained / "run/model.safetensors",
            tmp_path / "in",
            tmp_path / to,
            "--to",
            to,
            "--json",
        )
        assert code == 0
        assert json.loads(out)["ok"] == 4
        assert read_image(tmp_path / to / "deep" / "3.png").size == (40, 40)
        lines = (tmp_path / to / "manifest.jsonl").read_text().splitlines()
        assert [json.loads(line)["source"] for line in lines] == [f"deep/{i}.png" for i in range(4)]


def test_a_broken_file_is_listed_and_the_rest_translated(
    trained: Path, tmp_path: Path, call: Call
) -> None:
    folder = fill(tmp_path / "in")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = call(
        "translate", trained / "run/model.safetensors", folder, tmp_path / "out", "--to", "B"
    )
    assert code == 1
    assert "4 translated, 0 skipped, 1 failed" in out
    assert "failed broken.png" in err


def test_training_leaves_a_broken_file_out_and_says_so(
    trained: Path, tmp_path: Path, call: Call
) -> None:
    data = tmp_path / "data"
    for name in ("trainA", "trainB"):
        fill(data / name)
    (data / "trainA" / "broken.png").write_bytes(b"nothing")
    (tmp_path / "c.yaml").write_text("data: {size: 16, channels: 1}\n")
    code, _, err = call(
        "train", tmp_path / "c.yaml", "--data", data, "--out", tmp_path / "run", *TINY
    )
    assert code == 0
    assert "left out" in err
    assert "broken.png" in err
    code, _, err = call(
        "train", tmp_path / "c.yaml", "--data", data, "--out", tmp_path / "run", *TINY
    )
    assert code == 2
    assert "holds a run already" in err
    more = [x if x != "train.steps=4" else "train.steps=6" for x in TINY]
    code, out, err = call(
        "train", tmp_path / "c.yaml", "--data", data, "--out", tmp_path / "run", "--resume", *more
    )
    assert code == 0, err
    assert "resumed at step 4" in err
    assert "6 steps" in out


def test_info_says_what_a_model_is(trained: Path, call: Call) -> None:
    code, out, _ = call("info", trained / "run/model.safetensors", "--json")
    info = json.loads(out)
    assert code == 0
    assert (info["domains"], info["size"], info["channels"]) == (["A", "B"], 32, 1)
    assert info["training"]["step"] == 4
    code, out, _ = call("info", trained / "run/model.safetensors", "--config")
    assert code == 0
    assert "beta_neg: auto" in out


def test_evaluate_and_compare_judge_and_fail_when_asked(
    trained: Path, tmp_path: Path, call: Call
) -> None:
    model = trained / "run/model.safetensors"
    data = trained / "data"
    code, out, err = call("evaluate", model, data, "--out", tmp_path / "report", "--json")
    assert code == 0, err
    assert [direction["name"] for direction in json.loads(out)["directions"]]
    assert "--lpips-weights" in err, "one line says how to get LPIPS"
    assert (tmp_path / "report" / "metrics.json").exists()
    assert (tmp_path / "report" / "per_image.csv").exists()
    code, _, err = call("evaluate", model, data, "--fail-if", "l1>0")
    assert code == 3
    assert "missed: " in err
    code, out, _ = call("compare", data / "testA", data / "testB", "--fail-if", "l1>0")
    assert code == 0, "the folders are equal"


def test_exemplar_styles_and_samples(trained: Path, tmp_path: Path, call: Call) -> None:
    model = trained / "run/model.safetensors"
    folder = fill(tmp_path / "in", 2)
    code, _, err = call(
        "translate",
        model,
        folder,
        tmp_path / "o",
        "--to",
        "B",
        "--style",
        trained / "data/testB",
        "--samples",
        2,
    )
    assert code == 0, err
    assert len(list((tmp_path / "o").glob("*.png"))) == 4


def test_translate_takes_a_list_a_shard_a_background_and_a_scale(
    trained: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained / "run/model.safetensors"
    folder = fill(tmp_path / "in", 4)
    monkeypatch.chdir(folder)
    arguments = [
        "translate",
        str(model),
        "-",
        str(tmp_path / "o"),
        "--to",
        "B",
        "--background",
        "tomato",
    ]
    done = CliRunner().invoke(app, arguments, input="0.png\n\nsub/../1.png\nnone.png\n")
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "0.png",
        "1.png",
        "manifest.jsonl",
    ]
    assert "none.png" in done.stderr
    counts = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        code, out, _ = call(
            "translate", model, folder, tmp_path / "s", "--to", "B", "--scale", "native", "--json"
        )
        assert code == 0
        counts.append(json.loads(out)["ok"])
    assert sum(counts) == 4
    assert max(counts) < 4
    code, out, _ = call(
        "translate", model, folder, tmp_path / "t", "--to", "B", "--shard", "1/1", "--json"
    )
    assert (code, json.loads(out)["ok"]) == (0, 4), "what is asked for goes before the environment"


def test_a_full_disk_is_one_line_and_exit_1(
    trained: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("translate.io.images.write_image", full)
    code, out, err = call(
        "translate",
        trained / "run/model.safetensors",
        fill(tmp_path / "in"),
        tmp_path / "o",
        "--to",
        "B",
    )
    assert (code, out) == (1, "")
    (line,) = (line for line in err.splitlines() if not line.startswith("translating"))
    assert "o: no space left on device" in line


def test_bench_compares_translation_with_its_parts(trained: Path, call: Call) -> None:
    few = ("--images", 4, "--size", 16, "--photos", 1, "--json")
    code, out, err = call("bench", "translate", trained / "run/model.safetensors", *few)
    assert code == 0, err
    done = json.loads(out)
    assert done["png"]["share"] > 0
    assert done["jpeg"]["times_its_parts"] > 0


def test_bench_train_counts_passes_and_time(call: Call) -> None:
    small = [f"--set={key}" for key in ("model.width=8", "data.size=16", "train.batch_size=2")]
    code, out, err = call("bench", "train", "--steps", 2, "--json", *small)
    assert code == 0, err
    done = json.loads(out)
    assert done["warm-up"]["passes"] == {"content": 1, "style": 1, "decoder": 1}
    # The game: content of x and t; style of x, of t and of x taken for the other domain; x again,
    # t, x by way of t.
    assert done["game"]["passes"] == {"content": 2, "style": 3, "decoder": 3}
    for phase in ("warm-up", "game"):
        assert sum(done[phase]["share"].values()) == pytest.approx(1)
        assert 0 < done[phase]["gflops"] < 3 * done["matrix_gflops"]


def test_mistakes_are_one_line_with_a_remedy_and_exit_2(
    trained: Path, tmp_path: Path, call: Call
) -> None:
    model = trained / "run/model.safetensors"
    config = trained / "my.yaml"
    data = trained / "data"
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "one" / "trainA", 1)
    fill(tmp_path / "one" / "trainB", 4)
    plain = tmp_path / "plain.yaml"
    foreign = tmp_path / "foreign.safetensors"
    plain.write_text("data: {size: 32}\n")
    (tmp_path / "bad.yaml").write_text("trian: {}\n")
    (tmp_path / "file").write_text("")
    foreign.write_bytes(b"x" * 100)
    cases = [
        (
            ["init", tmp_path / "nowhere", data / "trainB", "-o", tmp_path / "n.yaml"],
            "nowhere: no such folder",
        ),
        (
            ["init", tmp_path / "empty", data / "trainB", "-o", tmp_path / "n.yaml"],
            "no readable picture",
        ),
        (["init", data / "trainA", data / "trainB", "-o", config], "exists already"),
        (["train", tmp_path / "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["train", tmp_path / "bad.yaml"], "unknown key; did you mean train?"),
        (
            ["train", plain, "--data", tmp_path / "empty", "--out", tmp_path / "r"],
            "no such folder for domain A",
        ),
        (
            ["train", plain, "--data", tmp_path / "one", "--out", tmp_path / "r"],
            "has 1 usable image",
        ),
        (["train", config, "--set", "train.stesp=3"], "did you mean train.steps?"),
        (["train", config, "--set", "train.steps=many"], "train.steps: 'many' is not allowed"),
        (
            ["train", config, "--set", "train.learning_rate=-1"],
            "train.learning_rate: -1 is not allowed",
        ),
        (["train", config, "--out", tmp_path / "file" / "run"], "run: cannot be written"),
        (["train", config, "--out", tmp_path / "r", "--resume"], "no training state"),
        (["train", config, "--out", tmp_path / "r", "--device", "abacus"], "--device abacus"),
        (["translate", model, data / "testA", tmp_path / "o", "--to", "C"], "C"),
        (["translate", model, tmp_path / "nowhere", tmp_path / "o", "--to", "B"], "nowhere"),
        (["translate", model, tmp_path / "empty", tmp_path / "o", "--to", "B"], "empty"),
        (["translate", model, data / "testA", data / "testA" / "o", "--to", "B"], "testA"),
        (["translate", model, data / "testA", tmp_path / "file", "--to", "B"], "file"),
        (["translate", model, data / "testA", tmp_path / "o"], "--to"),
        (
            ["translate", tmp_path / "nowhere", data / "testA", tmp_path / "o", "--to", "B"],
            "no such file",
        ),
        (
            ["translate", foreign, data / "testA", tmp_path / "o", "--to", "B"],
            "not a readable safetensors",
        ),
        (
            [
                "translate",
                model,
                data / "testA",
                tmp_path / "o",
                "--to",
                "B",
                "--style",
                tmp_path / "nowhere",
            ],
            "nowhere",
        ),
        (
            ["translate", model, data / "testA", tmp_path / "o", "--to", "B", "--shard", "4/3"],
            "--shard 4/3",
        ),
        (
            ["translate", model, data / "testA", tmp_path / "o", "--to", "B", "--scale", "big"],
            "--scale big",
        ),
        (
            [
                "translate",
                model,
                data / "testA",
                tmp_path / "o",
                "--to",
                "B",
                "--background",
                "1,2",
            ],
            "--background 1,2",
        ),
        (["evaluate", model, tmp_path / "empty"], "testA"),
        (["evaluate", model, data, "--fail-if", "beauty<1"], "beauty"),
        (["compare", tmp_path / "nowhere", data / "testA"], "nowhere"),
        (["info", foreign], "not a readable safetensors"),
        (["demo", data], "not an empty folder"),
        (["data", "glyphs", tmp_path / "g", "--size", "4"], "--size"),
        (["data", "glyphs", tmp_path / "file"], "file/trainA: not a directory; give another path"),
        (["trian"], "No such command"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in cases:
        code, out, err = call(*arguments)
        assert code == 2, (arguments, code, err)
        lines = [line for line in err.splitlines() if not line.startswith(("domain ", "left out "))]
        assert len(lines) == 1, (arguments, err)
        assert lines[0].startswith("introshift: "), lines
        assert message in lines[0], (arguments, err)
        assert not out
        assert sorted(tmp_path.rglob("*")) == before, f"{arguments} left something half-written"


@pytest.mark.parametrize(
    ("end", "expected"),
    [(TrainingInterruptedError("saved"), 130), (TrainingDivergedError("rec not finite"), 4)],
)
def test_ends_of_training_have_their_exit_codes(
    end: Exception,
    expected: int,
    trained: Path,
    tmp_path: Path,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: object) -> None:
        raise end

    monkeypatch.setattr("translate.training.trainer.Trainer.run", run)
    code, out, err = call("train", trained / "my.yaml", "--out", tmp_path / "r", *TINY)
    assert (code, out) == (expected, "")
    assert f"introshift: {end}" in err


def test_half_of_torchrun_s_variables_names_no_share(
    trained: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["translate", trained / "run/model.safetensors", trained / "data/testA"]
    cases: list[tuple[dict[str, str], str]] = [
        ({"WORLD_SIZE": "4"}, "no RANK and WORLD_SIZE=4"),
        ({"RANK": "1"}, "RANK=1 and no WORLD_SIZE"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK=4 and WORLD_SIZE=4"),
        ({"RANK": "", "WORLD_SIZE": "4"}, "RANK= and WORLD_SIZE=4"),
    ]
    for variables, found in cases:
        monkeypatch.delenv("RANK", raising=False)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code, out, err = call(*arguments, tmp_path / "o", "--to", "B")
        assert (code, out) == (2, "")
        assert found in err
        assert "--shard" in err
        assert "torchrun" in err
        assert not (tmp_path / "o").exists()
    code, out, err = call(*arguments, tmp_path / "o", "--to", "B", "--shard", "1/1", "--json")
    assert code == 0, err
    assert json.loads(out)["ok"] == 4


@pytest.mark.parametrize(
    "name", [r"back\new", "it's", 'a "b"', "a: b", "#1", " spaced ", "null", "1e3", "[x"]
)
def test_data_in_an_oddly_named_folder_is_found(
    name: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for domain in ("trainA", "trainB"):
        fill(Path(name) / domain)
    (tmp_path / "c.yaml").write_text("data: {size: 16, channels: 1}\n")
    few = ["--set", "train.steps=1", "--set", "model.width=8", "--max-minutes", 1e-9]
    code, _, err = call(
        "train", "c.yaml", "--data", name, "--out", "run", "--precision", "32", *few
    )
    assert code == 0, err
    code, out, _ = call("info", "run/model.safetensors", "--config")
    values = yaml.safe_load(out)
    assert values["data"]["root"] == name
    assert values["train"]["max_minutes"] == 1e-9
    assert values["train"]["precision"] == "fp32"


@pytest.mark.parametrize("name", ["auto", "fp32", "32", "bf16"])
def test_precisions_by_name(name: str, trained: Path, tmp_path: Path, call: Call) -> None:
    arguments = [
        "translate",
        trained / "run/model.safetensors",
        trained / "data/testA",
        tmp_path / "o",
    ]
    code, _, err = call(*arguments, "--to", "B", "--precision", name)
    assert code == 0, err


def test_an_unknown_precision_is_refused(trained: Path, tmp_path: Path, call: Call) -> None:
    arguments = [
        "translate",
        trained / "run/model.safetensors",
        trained / "data/testA",
        tmp_path / "o",
    ]
    code, _, err = call(*arguments, "--to", "B", "--precision", "fp16")
    assert code == 2
    assert "--precision fp16: unknown; use auto, fp32 or bf16" in err
    code, _, err = call(
        "train", trained / "my.yaml", "--out", tmp_path / "r", "--precision", "fp16"
    )
    assert code == 2
    assert "train.precision: 'fp16' is not allowed" in err
    assert "'fp32'" in err
    code, _, err = call("bench", "train", "--precision", "': x")
    assert code == 2
    assert "train.precision" in err


def test_a_hostile_config_ends_at_once_with_exit_2(tmp_path: Path, call: Call) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    for text in ("\n".join(lines), "[" * 10_000, "train: {steps: 1}\ntrain: {steps: 2}\n"):
        (tmp_path / "c.yaml").write_text(text)
        code, out, err = call("train", tmp_path / "c.yaml", "--out", tmp_path / "r")
        assert (code, out) == (2, "")
        assert "c.yaml: line " in err
        assert len(err) < 1000
    (tmp_path / "c.yaml").write_text("")
    for setting in (
        "train.batch_size=1000000000",
        "data.memory_gb=.inf",
        "data.root=" + "[" * 5000,
    ):
        code, out, err = call(
            "train", tmp_path / "c.yaml", "--out", tmp_path / "r", "--set", setting
        )
        assert (code, out) == (2, "")
        assert setting.partition("=")[0] in err
        assert len(err) < 1000


DEBUG_AS_AN_OPTION = [
    ["--debug", "info", "none"],
    ["info", "--debug", "none"],
    ["info", "none", "--debug"],
    ["bench", "--debug", "translate", "none"],
    ["bench", "translate", "none", "--debug"],
]


@pytest.mark.parametrize("words", DEBUG_AS_AN_OPTION, ids=" ".join)
def test_debug_shows_the_traceback_wherever_it_stands(words: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, words).exception, ValueError)


DEBUG_AS_TEXT = [
    (["train", "CONFIG", "--set", "--debug"], "--set --debug: expected section.key=value"),
    (["train", "CONFIG", "--set=--debug"], "--set --debug: expected section.key=value"),
    (["info", "--", "--debug"], "--debug: no such file"),
    (["translate", "--to", "--debug", "--", "--debug", "a", "b"], "--debug: no such file"),
]


@pytest.mark.parametrize(("words", "message"), DEBUG_AS_TEXT)
def test_debug_as_a_value_is_the_value(
    words: list[str], message: str, trained: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    code, _, err = call(*["my.yaml" if word == "CONFIG" else word for word in words])
    assert code == 2
    assert err.startswith("introshift: ")
    assert message in err


def test_a_suffix_may_be_called_debug(trained: Path, tmp_path: Path, call: Call) -> None:
    arguments = [
        "translate",
        trained / "run/model.safetensors",
        trained / "data/testA",
        tmp_path / "o",
    ]
    code, _, err = call(*arguments, "--to", "B", "--suffix", "--debug")
    assert code == 0, err
    assert (tmp_path / "o" / "0--debug.png").exists()


def test_the_demo_goes_the_whole_way(tmp_path: Path, call: Call) -> None:
    code, out, err = call("demo", tmp_path / "demo", "--minutes", "0.02", "--json")
    assert code == 0, err
    done = json.loads(out)
    assert all(Path(path).exists() for path in done["paths"].values())
    assert len(list((tmp_path / "demo" / "A_to_B").glob("*.png"))) == 150
    assert {direction["name"] for direction in done["directions"]} == {"A-B", "B-A"}


README = Path(__file__).parents[2] / "README.md"
COMMANDS = [
    line.split("#")[0].split()[2:]
    for line in README.read_text().splitlines()
    if line.startswith("$ introshift ")
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_readme_s_commands_exist_with_their_options(words: list[str], call: Call) -> None:
    code, out, _ = call(words[0], "--help")
    assert code == 0
    assert all(word in out for word in words if word.startswith("-"))


def test_bars_on_a_terminal_show_rate_and_terms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines._console import count_progress, training_progress
    from translate.training.trainer import TrainProgress

    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes stderr for a terminal
    monkeypatch.setenv("COLUMNS", "150")
    with count_progress("translating") as progress:
        progress(0, 3)
        progress(3, 3)
    with training_progress() as tick:
        tick(TrainProgress(40, 1.0, 57.0, 61.0, {"rec": 12.3456, "kl_s": 2.0}))
    shown = capsys.readouterr().err
    assert all(
        text in shown
        for text in ("3/3", "images/s", "step 40", "57 images/s", "1:01 left", "rec 12.3", "kl_s 2")
    )
