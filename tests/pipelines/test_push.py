"""A model pushed to a hub and fetched from it, in processes of their own, as users do it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._helpers.commands import call
from tests._helpers.hub import TOKEN, Hub, hub
from translate.io.files import sha256
from translate.io.hub import HubAddress, is_on_hub
from translate.zoo import SHIPPED

pytest.importorskip("huggingface_hub")

MODEL = SHIPPED["typefaces"].file
# The client library tries six times to reach a hub, and sleeps 23 seconds in between.
PROGRAM = "import time; time.sleep = lambda _: None; from pipelines.cli import app; app()"


@pytest.fixture(scope="module")
def served() -> Iterator[Hub]:
    with hub() as server:
        yield server


def introshift(
    server: Hub, home: Path, *arguments: object, **environment: str
) -> tuple[int, str, str]:
    own = {
        "HF_ENDPOINT": server.endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def test_pushed_model_is_fetched_to_the_byte_and_found_offline(served: Hub, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(MODEL, run / "model.safetensors")
    code, out, err = introshift(
        served, tmp_path / "writer", "push", run, "me/letters", "--licence", "mit", "--json"
    )
    assert code == 0, err
    assert "introshift evaluate" in err
    assert served.private["me/letters"]
    assert json.loads(out)["files"] == ["model.safetensors", "README.md"]
    assert set(served.repositories["me/letters"]) == {"model.safetensors", "README.md"}

    reader = tmp_path / "reader"
    example = next(SHIPPED["typefaces"].examples("sans").iterdir())
    picture = tmp_path / "made.png"
    code, out, err = introshift(served, reader, "translate", "hf://me/letters", example, picture)
    assert code == 0, err
    code, out, err = call("translate", "typefaces", example, tmp_path / "known.png")
    assert code == 0, err
    assert picture.read_bytes() == (tmp_path / "known.png").read_bytes()
    fetched = next(reader.rglob("snapshots/*/model.safetensors"))
    assert sha256(fetched) == sha256(MODEL)

    asked = len(served.requests)
    code, out, err = introshift(served, reader, "--offline", "info", "hf://me/letters", "--json")
    assert code == 0, err
    assert json.loads(out)["domains"] == ["sans", "serif"]
    assert len(served.requests) == asked


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (("info", "hf://me/nothing"), {}, "hf://me/nothing: not found at"),
        (("info", "hf://me/letters@v9"), {}, "no such branch, tag or commit"),
        (("info", "hf://me/empty"), {}, "no introshift model in it"),
        (("--offline", "info", "hf://me/letters"), {}, "run once without --offline"),
        (("info", "hf://letters"), {}, "name a model as hf://USER/NAME"),
        (("push", MODEL, "me/x"), {"HF_TOKEN": "hf_other"}, "set HF_TOKEN"),
        (("info", "hf://me/letters"), {"HF_ENDPOINT": "http://127.0.0.1:9"}, "does not answer"),
    ],
)
def test_every_refusal_is_one_line_with_the_remedy(
    served: Hub,
    tmp_path: Path,
    arguments: tuple[object, ...],
    environment: dict[str, str],
    expected: str,
) -> None:
    served.repositories.setdefault("me/letters", {"model.safetensors": b"-", "README.md": b"-"})
    served.repositories["me/empty"] = {"README.md": b"-"}
    code, _, err = introshift(served, tmp_path, *arguments, **environment)
    assert code == 2
    said = [line for line in err.splitlines() if line.startswith("introshift: ")]
    assert len(said) == 1
    assert expected in said[0]


def test_address_is_read_and_written() -> None:
    for text in ("hf://me/letters", "hf://me/letters@v1.2"):
        assert str(HubAddress.parse(text)) == text
    assert HubAddress.parse("me/letters").repository == "me/letters"
    assert is_on_hub(Path("hf://me/letters"))
    assert HubAddress.parse(str(Path("hf://me/letters"))).repository == "me/letters"
    assert not is_on_hub("me/letters")
    for wrong in ("letters", "a/b/c", "../x", "me/", "me/letters@", "me/let ters"):
        with pytest.raises(ValueError, match="USER/NAME"):
            HubAddress.parse(wrong)
