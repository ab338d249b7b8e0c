"""Files of several frames through a model: folders, and one file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.commands import call
from tests._helpers.folders import build, draw, files, manifest
from tests._helpers.frames import DURATIONS, KINDS, animation, damage
from tests._helpers.small_model import save
from translate.inference import animation as module
from translate.inference.folder_options import FolderOptions
from translate.inference.translator import Translator
from translate.io import frames as reading
from translate.io.frames import Frame, read_frames, read_sequence
from translate.io.images import Picture, UInt8, composite, read_image, write_image

SUFFIXES = {"GIF": ".gif", "WEBP": ".webp", "PNG": ".png", "TIFF": ".tif", "AVIF": ".avif"}


def read(path: Path) -> list[Frame]:
    return list(read_frames(path, read_sequence(path)))


def split(path: Path, folder: Path) -> None:
    """Write the frames of a file as PNGs."""
    folder.mkdir()
    for i, (picture, _) in enumerate(read(path)):
        alpha = picture.alpha if read_sequence(path).has_alpha else None
        write_image(folder / f"{i}.png", picture.pixels, alpha)


def shown(picture: Picture) -> UInt8:
    return composite(picture)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("has_alpha", [False, True])
def test_each_frame_is_translated_as_it_would_be_alone(
    translator: Translator, tmp_path: Path, kind: str, has_alpha: bool
) -> None:
    name = f"a{SUFFIXES[kind]}"
    path = animation(tmp_path / "in" / name, kind, has_alpha)
    done = translator.translate_folder(path.parent, tmp_path / "out", "B")
    assert (done.ok, done.failed) == (1, 0), done.failures
    line = manifest(tmp_path / "out")[name]
    assert line["output"] == name
    assert not any("first" in warning for warning in line["warnings"])

    # the frames as pictures of the same format
    split(path, tmp_path / "frames")
    options = FolderOptions(format={"TIFF": "tiff"}.get(kind, kind.lower()))
    translator.translate_folder(tmp_path / "frames", tmp_path / "alone", "B", options)
    before = read_sequence(path)
    after = read_sequence(tmp_path / "out" / name)
    assert len(after.places) == 5
    assert after.sizes == before.sizes
    if kind != "AVIF":
        assert after.plays == before.plays
    for i, (picture, milliseconds) in enumerate(read(tmp_path / "out" / name)):
        if kind != "TIFF":
            assert milliseconds == DURATIONS[i]
        suffix = SUFFIXES[kind]
        alone = read_image(tmp_path / "alone" / f"{i}{suffix}")
        difference = np.abs(shown(picture).astype(int) - shown(alone)).max()
        assert difference <= (12 if kind == "AVIF" else 0)


@pytest.mark.parametrize("scale", ["model", "detail", "native", "auto"])
def test_every_scale(tmp_path: Path, scale: str) -> None:
    translator = build(tmp_path, scale=scale)
    path = animation(tmp_path / "in" / "a.png", "PNG")
    translator.translate_folder(path.parent, tmp_path / "out", "B")
    split(path, tmp_path / "frames")
    translator.translate_folder(tmp_path / "frames", tmp_path / "alone", "B")
    for i, (picture, _) in enumerate(read(tmp_path / "out" / "a.png")):
        assert np.array_equal(shown(picture), shown(read_image(tmp_path / f"alone/{i}.png")))


def test_one_style_for_all_frames(translator: Translator, tmp_path: Path) -> None:
    """Equal frames come out equal; variants, and other files, have other styles."""
    for name in ("a.png", "b.png"):
        path = animation(tmp_path / "in" / name, "PNG", count=1)
        with Image.open(path) as image:
            image.load()
            marked = image.copy()
            marked.putpixel((0, 0), (0, 0, 0))
            more = [marked, image.copy()]
            image.save(path, save_all=True, append_images=more, duration=50)
    options = FolderOptions(style="random", samples=2)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
    made = {}
    for name in ("a_1.png", "a_2.png", "b_1.png"):
        first, _, last = read(tmp_path / "out" / name)
        assert np.array_equal(first.picture.pixels, last.picture.pixels)
        made[name] = first.picture.pixels
    for one, other in itertools.combinations(made.values(), 2):
        assert not np.array_equal(one, other)


def test_shards_batches_and_runs_give_the_same_bytes(
    translator: Translator, tmp_path: Path
) -> None:
    for i, kind in enumerate(KINDS):
        animation(tmp_path / "in" / f"{i}{SUFFIXES[kind]}", kind, has_alpha=i % 2 == 0)
    draw(tmp_path / "in" / "still.png", 20, 20)
    options = FolderOptions(style="random")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
    for shard in ((1, 2), (2, 2)):
        translator.translate_folder(
            tmp_path / "in", tmp_path / "shards", "B", FolderOptions(style="random", shard=shard)
        )
    assert files(tmp_path / "out") == files(tmp_path / "shards")


def test_what_exists_is_skipped_and_frames_are_part_of_it(
    translator: Translator, tmp_path: Path
) -> None:
    animation(tmp_path / "in" / "a.gif", "GIF")
    out = tmp_path / "out"
    translator.translate_folder(tmp_path / "in", out, "B")
    again = FolderOptions(skip_existing=True)
    assert translator.translate_folder(tmp_path / "in", out, "B", again).skipped == 1
    first = FolderOptions(skip_existing=True, frames="first")
    assert translator.translate_folder(tmp_path / "in", out, "B", first).ok == 1
    assert len(read_sequence(out / "a.gif").places) == 1
    (line,) = manifest(out).values()
    assert line["warnings"] == [
        "has several frames, only the first is used",
        "the colours were reduced to the 256 of a GIF",
    ]
    assert translator.translate_folder(tmp_path / "in", out, "B", again).ok == 1
    assert len(read_sequence(out / "a.gif").places) == 5


def test_a_format_of_one_frame_has_the_first_and_says_so(
    translator: Translator, tmp_path: Path
) -> None:
    path = animation(tmp_path / "in" / "a.gif", "GIF")
    options = FolderOptions(format="jpg")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
    (line,) = manifest(tmp_path / "out").values()
    assert line["status"] == "ok"
    assert line["warnings"] == [
        "JPEG holds one frame: --format webp, gif, png or tiff keeps all",
        "has several frames, only the first is used",
        "the palette became full colour",
    ]
    # which is the picture that the first frame alone would be
    with Image.open(path) as image:
        image.convert("RGB").save(tmp_path / "one.png")
    translator.translate_folder(tmp_path / "one.png", tmp_path / "one", "B", options)
    assert (tmp_path / "one/one.jpg").read_bytes() == (tmp_path / "out/a.jpg").read_bytes()

    large = Image.new("L", (20, 20), 9)
    large.save(tmp_path / "in" / "a.tif", save_all=True, append_images=[Image.new("L", (9, 20), 9)])
    for format, count in (("png", 1), ("tiff", 2)):
        out = tmp_path / format
        translator.translate_folder(
            tmp_path / "in" / "a.tif", out, "B", FolderOptions(format=format)
        )
        (line,) = manifest(out).values()
        assert len(read_sequence(out / line["output"]).places) == count
        assert any("--format tiff" in text for text in line["warnings"]) == (count == 1)


def test_bombs_and_damaged_frames_fail_alone_and_whole(
    translator: Translator, tmp_path: Path
) -> None:
    animation(tmp_path / "in" / "large.gif", "GIF", count=9)
    for kind in ("GIF", "PNG", "TIFF"):
        path = animation(tmp_path / "in" / f"cut{SUFFIXES[kind]}", kind)
        damage(path, 2)
    draw(tmp_path / "in" / "still.png", 20, 20)
    options = FolderOptions(max_pixels=6 * 64 * 64)
    done = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
    reasons = dict(done.failures)
    assert done.ok == 1
    assert reasons.keys() == {"large.gif", "cut.gif", "cut.png", "cut.tif"}
    assert "9 frames of 30 x 20" in reasons.pop("large.gif")
    assert all(reason.startswith("frame 3: ") for reason in reasons.values())
    assert files(tmp_path / "out").keys() == {"still.png"}
    for line in manifest(tmp_path / "out").values():
        assert (line["output"] is None) == (line["status"] == "failed")


def test_stopping_at_a_failure_does_what_comes_before(
    translator: Translator, tmp_path: Path
) -> None:
    animation(tmp_path / "in" / "a.gif", "GIF")
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    animation(tmp_path / "in" / "c.gif", "GIF")
    options = FolderOptions(on_error="stop", workers=1)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
    assert files(tmp_path / "out").keys() == {"a.gif"}
    assert manifest(tmp_path / "out")["c.gif"]["status"] == "skipped"


def test_a_file_counts_as_one_with_shares(translator: Translator, tmp_path: Path) -> None:
    animation(tmp_path / "in" / "a.gif", "GIF")
    draw(tmp_path / "in" / "b.png", 20, 20)
    calls: list[tuple[float, int]] = []
    translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", progress=lambda *call: calls.append(call)
    )
    assert {total for _, total in calls} == {2}
    done = [count for count, _ in calls]
    assert done == sorted(done)
    assert np.allclose(done, [0, 1, 1.2, 1.4, 1.6, 1.8, 2])


def test_few_frames_are_held_however_many_there_are(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = 0
    most = 0

    class Counted(Picture):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    decode = reading._frame

    def counted(*arguments: Any) -> Frame:
        nonlocal alive, most
        picture, milliseconds = decode(*arguments)
        alive += 1
        most = max(most, alive)
        return Frame(Counted(**vars(picture)), milliseconds)

    monkeypatch.setattr(reading, "_frame", counted)
    animation(tmp_path / "in" / "a.gif", "GIF", count=120)
    options = FolderOptions(batch_size=8, workers=2)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
    assert len(read_sequence(tmp_path / "out" / "a.gif").places) == 120
    assert most <= 8


def test_a_file_that_changes_is_refused(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = animation(tmp_path / "in" / "a.gif", "GIF")
    predictions = module._predictions

    def changed(*arguments: Any) -> Iterator[Any]:
        yield from itertools.islice(predictions(*arguments), 3)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "_predictions", changed)
    done = translator.translate_folder(path, tmp_path / "out", "B")
    assert done.failed == 1
    assert not files(tmp_path / "out")


def test_one_file_is_written_as_in_a_folder(tmp_path: Path) -> None:
    model = save(tmp_path)
    path = animation(tmp_path / "in" / "a.gif", "GIF")
    words = ("translate", model, path)
    code, _, stderr = call(*words, tmp_path / "out", "--to", "B", "--style", "random")
    assert code == 0, stderr
    code, stdout, stderr = call(*words, tmp_path / "b.gif", "--to", "B", "--style", "random")
    assert code == 0, stderr
    assert "5 frames" in stdout
    expected = (tmp_path / "out" / "a.gif").read_bytes()
    assert (tmp_path / "b.gif").read_bytes() == expected

    given = [str(word) for word in (*words, "-", "--to", "B", "--style", "random")]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.stderr
    assert done.stdout_bytes == expected
    done = CliRunner().invoke(app, [*given, "--frames", "first"])
    with Image.open(BytesIO(done.stdout_bytes)) as image:
        assert not image.is_animated  # type: ignore[attr-defined]

    code, _, stderr = call(*words, tmp_path / "b.jpg", "--to", "B")
    assert code == 0
    assert "--format webp" in stderr
    damage(path, 2)
    code, _, stderr = call(*words, tmp_path / "c.gif", "--to", "B")
    assert code == 1
    assert "a.gif: frame 3: " in stderr
    assert not (tmp_path / "c.gif").exists()


def test_frames_are_all_or_first() -> None:
    with pytest.raises(ValueError, match="frames last: use all or first"):
        FolderOptions(frames="last")


def test_rejected_frames_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._summary(module.Counter({"x": 5, "y": 1}), 5) == ["x", "y (of 1 of 5 frames)"]
    many = module.Counter({str(i): 1 for i in range(9)})
    assert module._summary(many, 9)[-1] == "and 4 more of other frames"


def test_deep_pages_stay_deep_and_animations_say_that_they_do_not(tmp_path: Path) -> None:
    translator = build(tmp_path, scale="detail")
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 65536, (20, 30), np.uint16) for _ in range(3)]
    pages = [Image.fromarray(page) for page in values]
    (tmp_path / "in").mkdir()
    pages[0].save(tmp_path / "in" / "a.tif", save_all=True, append_images=pages[1:])
    for i, page in enumerate(pages):
        page.save(tmp_path / "in" / f"{i}.tif")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    found = read(tmp_path / "out" / "a.tif")
    for i, (picture, _) in enumerate(found):
        alone = read_image(tmp_path / "out" / f"{i}.tif")
        assert picture.levels is not None
        assert alone.levels is not None
        assert np.array_equal(picture.levels.values, alone.levels.values)
    assert len(found) == 3
    assert manifest(tmp_path / "out")["a.tif"]["warnings"] == []

    options = FolderOptions(format="png")
    translator.translate_folder(tmp_path / "in" / "a.tif", tmp_path / "png", "B", options)
    (line,) = manifest(tmp_path / "png").values()
    assert any("an animated PNG holds no more" in text for text in line["warnings"])
    assert len(read(tmp_path / "png" / "a.png")) == 3
