"""The tab Models in Chromium: figures, report, drawings, export."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect

from tests._helpers.evaluations import drawn_direction, evaluation
from tests._helpers.served import Served, opened_page, served
from translate.evaluation.report import write_report
from translate.io.files import sha256
from translate.zoo import SHIPPED

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models") / "served"
    shutil.copytree(SHIPPED["typefaces"].folder, folder / "mine")
    (folder / "mine" / "README.md").write_text("# Mine\n<img src='http://a.b/c.png'>")
    made = evaluation(drawn_direction([f"{i}.png" for i in range(9)]))
    made = dataclasses.replace(made, model_sha256=sha256(SHIPPED["typefaces"].file))
    write_report(made, folder / "report")
    with served(folder) as started:
        yield started


def test_what_a_model_knows_and_how_good_it_is(page: Page, server: Served) -> None:
    with opened_page(page, server):
        page.get_by_role("tab", name="Models").click()
        about = page.locator("#about-model")
        expect(about).to_contain_text("sans and serif into each other")
        expect(about).to_contain_text("801 of sans")
        expect(page.locator("#domains img")).to_have_count(12)
        figures = page.locator("#figures")
        expect(figures).to_contain_text("25 % nearer to the true pictures")
        expect(figures).to_contain_text("25 % better than the untranslated pictures")

        page.get_by_role("button", name="Evaluation report").click()
        report = page.frame_locator("#report iframe")
        expect(report.get_by_role("heading", name="A to B").first).to_be_visible()

        box = page.get_by_role("tabpanel").get_by_label("Model", exact=True)
        box.last.click()
        page.get_by_role("option", name="mine").click()
        page.get_by_role("button", name="Its card").click()
        expect(page.get_by_role("heading", name="Mine")).to_be_visible()
        expect(page.get_by_text("<img src=")).to_be_visible()


def test_drawings_and_export(page: Page, server: Served, tmp_path: Path) -> None:
    with opened_page(page, server):
        page.get_by_role("tab", name="Models").click()
        expect(page.locator("#about-model")).to_contain_text("sans and serif")
        page.get_by_role("button", name="Every content in every style").click()
        page.get_by_role("button", name="Draw").first.click()
        expect(page.locator("#swap img")).to_be_visible()
        page.get_by_role("button", name="New pictures").click()
        page.get_by_role("button", name="Draw").last.click()
        expect(page.locator("#samples img")).to_be_visible()

        page.get_by_role("button", name="Export for other programs").click()
        page.get_by_label("pt2").check()
        page.get_by_role("button", name="Export", exact=True).click()
        link = page.locator("a[download='typefaces_sans_to_serif.pt2']")
        with page.expect_download() as download:
            link.click()
        download.value.save_as(tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2")
    made = program.module()(torch.zeros(1, 1, 32, 32), torch.zeros(1, 16))
    assert made.shape == (1, 1, 32, 32)


def test_the_report_is_asked_for_with_the_password_alone(page: Page, tmp_path: Path) -> None:
    made = evaluation(drawn_direction([f"{i}.png" for i in range(9)]))
    made = dataclasses.replace(made, model_sha256=sha256(SHIPPED["typefaces"].file))
    folder = tmp_path / "served"
    write_report(made, folder / "report")
    with served(folder, "--auth", "me:secret") as server:
        for path in ("report/report.html", f"gradio_api/file={folder}/report/report.html"):
            answer = page.request.get(server.url + path)
            assert answer.status in (401, 404), path
        page.goto(server.url)
        expect(page.get_by_role("tab", name="Models")).to_have_count(0)
