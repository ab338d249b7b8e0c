"""The server without a browser: who is answered, what is read, and the API in the guide's words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import ExifTags, Image

from tests._helpers.folders import files
from tests._helpers.served import PATIENCE, ROOT, Served, served, status
from translate.inference.folder_options import FolderOptions
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.zoo import SHIPPED

pytestmark = pytest.mark.slow
GUIDE = ROOT / "docs" / "guides" / "ui.md"
SANS = SHIPPED["typefaces"].examples("sans")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ui") / "served"
    shutil.copytree(SANS, folder / "photos")
    (folder / "link").symlink_to("/etc", target_is_directory=True)
    with served(folder) as running:
        yield running


def ask(server: Served, endpoint: str, **arguments: object) -> list[tuple[str, Any]]:
    """Call an endpoint; return its events, each with its data."""
    url = f"{server.url}gradio_api/call/v2/{endpoint}"
    body = json.dumps(arguments).encode()
    request = Request(url, body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=PATIENCE) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{url}/{event}", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    found = re.findall(r"event: (\w+)\ndata: (.*)\n", text)
    return [(name, json.loads(data)) for name, data in found]


def error(events: list[tuple[str, Any]]) -> str:
    name, data = events[-1]
    assert name == "error"
    return str(data["error"])


def test_a_foreign_host_and_a_foreign_origin_are_refused(server: Served) -> None:
    assert status(server.url) == 200
    assert status(server.url, Host="rebound.example.org") == 403
    assert status(f"{server.url}gradio_api/info", Origin="http://example.org") == 403


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd"])
def test_no_other_file_is_served(server: Served, path: str) -> None:
    assert status(f"{server.url}gradio_api/file={path}") in (403, 404)


@pytest.mark.parametrize("known", [{"meta": {"_type": "gradio.FileData"}}, {}])
def test_a_picture_that_was_not_uploaded_is_refused(
    server: Served, known: dict[str, object]
) -> None:
    photo = server.folder / "photos" / "Z.png"
    said = error(ask(server, "translate", picture={"path": str(photo), **known}))
    assert re.search("not uploaded|upload it", said)


@pytest.mark.parametrize(
    ("folder", "out"),
    [
        ("../../etc", "out"),
        ("/etc", "out"),
        ("link", "out"),
        ("photos", "../x"),
        ("photos", "link"),
    ],
)
def test_folders_elsewhere_are_refused(server: Served, folder: str, out: str) -> None:
    assert "name a place below" in error(ask(server, "job", folder=folder, out=out))
    assert not (server.folder / "out").exists()


def test_a_style_is_no_file(server: Served) -> None:
    said = error(ask(server, "job", folder="photos", out="out", style="/etc/passwd"))
    assert said == "style /etc/passwd: use auto, mean, random, keep, own"


def test_models(server: Served) -> None:
    [(_, [models])] = ask(server, "models")
    assert [(model["name"], model["domains"]) for model in models] == [
        ("typefaces", ["sans", "serif"]),
        ("emoji", ["3d", "flat"]),
    ]


def test_a_job_makes_what_the_translator_does(server: Served, tmp_path: Path) -> None:
    wish = {"to": "serif", "style": "random", "seed": 7}
    events = ask(server, "job", folder="photos", out="made/random", **wish)
    last = events[-1][1][0]
    assert (last["state"], last["summary"]["ok"], last["summary"]["to"]) == ("done", 8, "serif")
    translator = Translator.load("typefaces", "cpu")
    options = FolderOptions(style="random", seed=7)
    translator.translate_folder(SANS, tmp_path / "out", "serif", options)
    made = files(server.folder / "made" / "random")
    expected = files(tmp_path / "out")
    pictures = [name for name in expected if name.endswith(".png")]
    assert len(pictures) == 8
    assert [made[name] for name in pictures] == [expected[name] for name in pictures]


def test_a_job_makes_as_much_of_the_change_as_is_asked_for(server: Served, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED["emoji"].examples("flat"), server.folder / "flat")
    wish = {"model": "emoji", "to": "3d", "strength": 0.5}
    events = ask(server, "job", folder="flat", out="made/half", **wish)
    assert events[-1][1][0]["state"] == "done"
    for strength in (0.5, 1.0):
        translator = Translator.load("emoji", "cpu", PredictorOptions(strength=strength))
        translator.translate_folder(server.folder / "flat", tmp_path / f"{strength}", "3d")
    made = {k: v for k, v in files(server.folder / "made/half").items() if k.endswith(".png")}
    half, whole = (files(tmp_path / name) for name in ("0.5", "1.0"))
    assert made
    assert all(made[name] == half[name] != whole[name] for name in made)


def test_a_strength_that_a_model_does_not_know_is_refused(server: Served) -> None:
    for strength in (0.5, 9.0):
        wish = {"model": "typefaces", "to": "serif", "strength": strength}
        events = ask(server, "job", folder="photos", out=f"made/{strength}", **wish)
        assert "--strength" in json.dumps(events)


@pytest.mark.parametrize("strip", [False, True])
def test_a_job_writes_metadata_unless_they_are_stripped(server: Served, strip: bool) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    folder = server.folder / "named"
    folder.mkdir(exist_ok=True)
    Image.open(SANS / "k.png").save(folder / "k.png", exif=exif)
    out = f"made/{strip}"
    events = ask(server, "job", folder="named", out=out, to="serif", strip=strip)
    assert events[-1][1][0]["summary"]["ok"] == 1
    with Image.open(server.folder / out / "k.png") as made:
        assert made.getexif().get(ExifTags.Base.Artist) == (None if strip else "somebody")


def guide(language: str) -> str:
    """The one example of the guide in a language."""
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S)
    return str(text)


def expected_serif(tmp_path: Path) -> bytes:
    translator = Translator.load("typefaces", "cpu")
    translator.translate_folder(tmp_path / "sans.png", tmp_path / "out", "serif")
    return (tmp_path / "out" / "sans.png").read_bytes()


def test_the_guides_example_in_python(server: Served, tmp_path: Path) -> None:
    shutil.copy(SANS / "Z.png", tmp_path / "sans.png")
    code = guide("python").replace("http://127.0.0.1:7788/", server.url)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert "typefaces ['sans', 'serif']" in lines
    assert lines[-1] == "done 8 of 8"
    [serif] = [Path(line) for line in lines if line.endswith(".png")]
    assert serif.read_bytes() == expected_serif(tmp_path)


@pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="no bash or no curl"
)
def test_the_guides_example_in_curl(server: Served, tmp_path: Path) -> None:
    shutil.copy(SANS / "Z.png", tmp_path / "sans.png")
    code = guide("bash").replace("http://127.0.0.1:7788/", server.url)
    subprocess.run(["bash", "-e", "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "serif.png").read_bytes() == expected_serif(tmp_path)


def test_without_the_password_there_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served", "--auth", "me:secret") as running:
        api = f"{running.url}gradio_api/"
        for path in ("info", "call/models/x", "queue/data?session_hash=x", "file=/etc/passwd"):
            assert status(api + path) == 401, path
        assert status(f"{running.url}config") == 401
        for word, answer in (("wrong", 400), ("secret", 200)):
            body = f"username=me&password={word}".encode()
            assert post(f"{running.url}login", body) == answer


def post(url: str, body: bytes) -> int:
    try:
        with urlopen(Request(url, body), timeout=PATIENCE) as answer:
            return int(answer.status)
    except HTTPError as refused:
        with refused:
            return refused.code


def test_a_port_in_use_is_said(server: Served) -> None:
    port = server.url.rsplit(":")[-1].strip("/")
    command = [sys.executable, "-m", "pipelines.cli", "ui", "--no-open", "--port", port]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"--port {port}: address already in use" in done.stderr
