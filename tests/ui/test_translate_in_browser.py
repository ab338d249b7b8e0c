"""The tab that translates, in Chromium: files in, files out; slider, styles, queue, screens."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests._helpers.browser import fits, screen
from tests._helpers.folders import files
from tests._helpers.served import Served, opened_page, served
from translate.inference.folder_options import FolderOptions
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.zoo import SHIPPED

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SANS = SHIPPED["typefaces"].examples("sans")
SERIF = SHIPPED["typefaces"].examples("serif")
THREE = [SANS / name for name in ("Z.png", "beta.png", "k.png")]
MANY = 3000  # pictures, more than are done while a test looks
BUSY = 1.0  # load by core above which the time to the first result says nothing


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ui") / "served"
    shutil.copytree(SANS, folder / "photos")
    (folder / "link").symlink_to("/etc", target_is_directory=True)
    (folder / "many").mkdir()
    for i in range(MANY):
        os.link(folder / "photos" / "Z.png", folder / "many" / f"{i:04}.png")
    with served(folder) as running:
        yield running
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def opened(page: Page, server: Served) -> Iterator[Page]:
    with opened_page(page, server) as shown:
        yield shown


def result(page: Page) -> Locator:
    """What the page says of a job that is over."""
    return page.locator("[data-state=done], [data-state=failed], [data-state=cancelled]")


def drop(page: Page, paths: Sequence[Path]) -> None:
    """Give files to the page, and wait for the end."""
    page.locator("input[type=file]").first.set_input_files(paths)
    expect(result(page)).to_be_visible()


def again(page: Page, button: str = "Translate") -> str:
    """Press a button, and wait for the end of a job that is another than the one shown."""
    before = result(page).get_attribute("data-job")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator(f"[data-state=done]:not([data-job='{before}'])")).to_be_visible()
    return str(result(page).get_attribute("data-job"))


def made(page: Page) -> dict[str, bytes]:
    """The pictures of the zip file that the page offers."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert "manifest.jsonl" in archive.namelist()
        return {name: archive.read(name) for name in names}


def translated(tmp_path: Path, options: FolderOptions, to: str = "serif") -> dict[str, bytes]:
    """What the Translator makes of the three files."""
    inputs = tmp_path / "three"
    inputs.mkdir()
    for path in THREE:
        shutil.copy(path, inputs)
    Translator.load("typefaces", "cpu").translate_folder(inputs, tmp_path / "out", to, options)
    found = files(tmp_path / "out")
    return {name: data for name, data in found.items() if name.endswith(".png")}


def wait_for_edge(page: Page, condition: str) -> None:
    """Wait until a condition holds for `edge`, where before ends and after begins, in %."""
    page.wait_for_function(
        f"""() => {{
            const after = document.querySelectorAll("[data-testid=imageslider-image]")[1];
            const edge = parseFloat(after?.style.clipPath.split(" ").at(-1));
            return {condition};
        }}"""
    )


def test_three_files_become_what_the_translator_makes_of_them(opened: Page, tmp_path: Path) -> None:
    drop(opened, THREE)
    expect(opened.locator("#pairs").get_by_role("button")).to_have_count(6)
    expect(opened.locator("[data-job]")).to_contain_text("3 translated to serif")
    assert made(opened) == translated(tmp_path, FolderOptions())


def test_a_folder_is_uploaded_whole(opened: Page, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in THREE:
        shutil.copy(path, folder)
    with opened.expect_file_chooser() as chooser:
        opened.get_by_role("button", name="A folder of yours").click()
    chooser.value.set_files(folder)
    expect(result(opened)).to_be_visible()
    assert made(opened) == translated(tmp_path, FolderOptions())


@pytest.mark.parametrize(
    ("choice", "scale"),
    [("model size", "model"), ("keep detail", "detail"), ("full size", "native")],
)
def test_the_size_chosen_is_that_of_the_command_line(
    opened: Page, tmp_path: Path, choice: str, scale: str
) -> None:
    picture = tmp_path / "wide.png"
    Image.open(SANS / "k.png").convert("L").resize((96, 80)).save(picture)
    opened.get_by_label(choice).check()
    drop(opened, [picture])
    found = made(opened)
    options = PredictorOptions(scale=scale)
    Translator.load("typefaces", "cpu", options).translate_folder(
        picture, tmp_path / "out", "serif", FolderOptions(source="sans")
    )
    expected = files(tmp_path / "out")["wide.png"]
    assert np.array_equal(_pixels(found["wide.png"]), _pixels(expected))


def test_the_strength_chosen_is_that_of_the_command_line(opened: Page, tmp_path: Path) -> None:
    """It is offered of models that keep detail alone, and set back with another model."""
    strength = opened.get_by_label("number input for Strength")
    expect(strength).to_be_hidden()
    choose_model(opened, "emoji")
    strength.fill("0.5")
    strength.press("Tab")
    picture = next(iter(sorted(SHIPPED["emoji"].examples("flat").glob("*.png"))))
    opened.get_by_label("flat → 3d").check()
    drop(opened, [picture])
    options = PredictorOptions(strength=0.5)
    Translator.load("emoji", "cpu", options).translate_folder(picture, tmp_path / "out", "3d")
    expected = files(tmp_path / "out")[picture.name]
    assert np.array_equal(_pixels(made(opened)[picture.name]), _pixels(expected))
    choose_model(opened, "typefaces")
    expect(strength).to_be_hidden()
    choose_model(opened, "emoji")
    expect(strength).to_have_value("1")


def choose_model(page: Page, name: str) -> None:
    page.get_by_label("Model", exact=True).first.click()
    page.get_by_role("option", name=name, exact=True).click()


def test_metadata_are_kept_or_stripped(opened: Page, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    Image.open(SANS / "k.png").save(tmp_path / "k.png", exif=exif)
    drop(opened, [tmp_path / "k.png"])
    kept = made(opened)["k.png"]
    assert Image.open(io.BytesIO(kept)).getexif()[ExifTags.Base.Artist] == "somebody"
    opened.get_by_label("Strip metadata").check()
    again(opened)
    stripped = made(opened)["k.png"]
    assert not Image.open(io.BytesIO(stripped)).getexif()
    assert b"somebody" not in stripped
    assert np.array_equal(_pixels(kept), _pixels(stripped))


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_same_seed_makes_the_same_files(opened: Page, tmp_path: Path) -> None:
    opened.get_by_label("random").check()
    opened.get_by_label("Seed").fill("5")
    drop(opened, THREE)
    first = made(opened)
    opened.get_by_label("Seed").fill("6")
    again(opened)
    assert made(opened) != first
    opened.get_by_label("Seed").fill("5")
    again(opened)
    assert made(opened) == first
    assert first == translated(tmp_path, FolderOptions(style="random", seed=5))
    again(opened, "🎲 Another")
    assert opened.get_by_label("Seed").input_value() != "5"


def test_the_style_of_a_picture_is_followed(opened: Page, tmp_path: Path) -> None:
    opened.get_by_label("sans → serif").check()
    opened.get_by_label("like a picture").check()
    exemplar = SERIF / "o.png"
    opened.locator("input[type=file]").nth(2).set_input_files(exemplar)
    expect(opened.get_by_text("o.png")).to_be_visible()
    drop(opened, THREE)
    assert made(opened) == translated(tmp_path, FolderOptions(style=exemplar))


def test_the_other_direction_and_its_thumbnails(opened: Page) -> None:
    labels = opened.locator(".direction [data-testid=block-label]")
    expect(labels).to_have_text(["sans", "serif"])
    opened.get_by_label("serif → sans").check()
    expect(labels).to_have_text(["serif", "sans"])
    drop(opened, [SERIF / "o.png"])
    expect(opened.locator("[data-job]")).to_contain_text("1 translated to sans")


def test_the_slider_by_mouse_and_by_keys(opened: Page) -> None:
    drop(opened, THREE)
    wait_for_edge(opened, "edge === 50")
    handle = opened.get_by_test_id("slider")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    opened.mouse.move(box["x"] + box["width"] / 2, middle)
    opened.mouse.down()
    opened.mouse.move(box["x"] - 60, middle)
    opened.mouse.up()
    wait_for_edge(opened, "edge < 45")
    opened.get_by_role("slider").focus()
    for _ in range(3):
        opened.keyboard.press("ArrowRight")
    expect(opened.get_by_label(re.compile("number input for Edge"))).to_have_value("53")
    wait_for_edge(opened, "edge > 51")


def test_a_pair_is_chosen_by_keys(opened: Page) -> None:
    drop(opened, THREE)
    opened.locator("#pairs").get_by_role("button").nth(4).focus()
    opened.keyboard.press("Enter")
    expect(opened.get_by_text("k.png · 32 x 32")).to_be_visible()


def test_bad_files_have_their_sentence_and_the_rest_is_done(opened: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(THREE[0].read_bytes()[:60])
    empty = tmp_path / "empty.png"
    empty.touch()
    huge = tmp_path / "huge.png"
    Image.fromarray(np.zeros((20_000, 20_000), np.uint8)).convert("1").save(huge)
    drop(opened, [broken, empty, huge, THREE[2]])
    expect(opened.locator("[data-job]")).to_contain_text("1 translated to serif, 3 failed")
    for sentence in ("truncated", "empty file", "400 Mpx exceed"):
        expect(opened.get_by_role("listitem").filter(has_text=sentence)).to_be_visible()
    assert made(opened).keys() == {"k.png"}


def test_strange_pictures_have_a_badge(opened: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    opened.get_by_label("sans → serif").check()
    drop(opened, [tmp_path / "noise.png", THREE[2]])
    badge = opened.locator("#pairs").get_by_text("unlike the training pictures")
    expect(badge).to_have_count(1)


@pytest.mark.parametrize("place", ["../../etc", "/etc", "link"])
def test_folders_elsewhere_are_refused(opened: Page, place: str) -> None:
    name_folder(opened, place)
    opened.get_by_role("button", name="Translate", exact=True).click()
    expect(opened.get_by_test_id("toast-body")).to_contain_text("name a place below")


def name_folder(page: Page, place: str) -> None:
    page.get_by_label("or a folder below").fill(place)
    page.keyboard.press("Enter")
    expect(page.get_by_label("write into the folder")).to_have_value(f"{place}-translated")


def test_a_folder_is_translated_into_another(opened: Page, server: Served) -> None:
    name_folder(opened, "photos")
    opened.get_by_role("button", name="Translate", exact=True).click()
    expect(opened.locator("[data-job]")).to_contain_text("8 translated to serif")
    lines = (server.folder / "photos-translated" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == 8 * ["ok"]
    expect(opened.get_by_role("button", name="Download all")).to_be_hidden()


def test_two_pages_share_one_queue_and_a_job_outlives_its_page(
    browser: Browser, server: Served
) -> None:
    with browser.new_context() as mine, browser.new_context() as theirs:
        page = mine.new_page()
        with opened_page(page, server):
            page.get_by_label("sans → serif").check()
            name_folder(page, "many")
            page.get_by_role("button", name="Translate", exact=True).click()
            expect(page.locator("[data-state=running]")).to_be_visible()
        with opened_page(theirs.new_page(), server) as other:
            other.locator("input[type=file]").first.set_input_files(THREE)
            waiting = other.locator("[data-state=waiting]")
            expect(waiting).to_contain_text("waiting for 1 before it")
            page.close()
            with opened_page(mine.new_page(), server) as again:
                expect(again.locator("[data-state=running]")).to_be_visible()
                again.get_by_role("button", name="Cancel", exact=True).click()
                expect(again.locator("[data-state=cancelled]")).to_be_visible()
            expect(other.locator("[data-state=done]")).to_contain_text("3 translated to serif")

    lines = (server.folder / "many-translated" / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == MANY
    assert {json.loads(line)["reason"] for line in lines} == {None, "interrupted"}


def test_example_pictures_are_there_from_the_first_second(opened: Page) -> None:
    opened.get_by_role("button", name="Example pictures").click()
    expect(opened.locator("[data-state=done]")).to_contain_text("8 translated to serif")


def test_the_first_result_is_there_within_three_seconds(opened: Page) -> None:
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    if load > BUSY:
        pytest.skip(f"a busy machine: {load:.1f} processes a core")
    drop(opened, THREE[:1])  # the model is loaded now
    start = opened.evaluate("performance.now()")
    again(opened)
    assert opened.evaluate("performance.now()") - start < 3000


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_schemes(browser: Browser, server: Served, width: int, scheme: str) -> None:
    with screen(browser, width, scheme) as context, opened_page(context.new_page(), server) as page:
        assert fits(page)
        drop(page, THREE)
        assert fits(page)
        with Image.open(io.BytesIO(page.screenshot())) as shot:
            background = shot.convert("L").getpixel((1, 1))
        assert (background < 60) == (scheme == "dark")
