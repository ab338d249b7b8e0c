"""The queue of translations: one after the other, cancelled, forgotten; results as of a folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.ui import jobs as module
from pipelines.ui.jobs import Job
from pipelines.ui.translation import MOST_FILES, Wish, archive, is_unlike, start_files, start_folder
from pipelines.ui.workspace import Workspace
from tests._helpers.folders import build, draw, files, manifest
from translate.inference.folder import FolderJob
from translate.inference.folder_options import FolderOptions, Progress
from translate.inference.translator import Translator
from translate.losses.energy import RejectionThreshold


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "served" / "run").mkdir(parents=True)
    build(tmp_path / "served" / "run")
    for i in range(4):
        draw(tmp_path / "served" / "photos" / f"{i}.png", seed=i)
    found = Workspace(tmp_path / "served")
    yield found
    found.close()


def wait(job: Job) -> Job:
    for _ in job.watch():
        pass
    return job


def test_files_become_what_the_translator_makes_of_their_folder(
    workspace: Workspace, tmp_path: Path
) -> None:
    photos = workspace.folder / "photos"
    wish = Wish("run", "A", "B", "random", seed=5)
    job = wait(start_files(workspace, sorted(photos.iterdir()), wish))
    options = FolderOptions(style="random", seed=5)
    translator = Translator.load(workspace.folder / "run", "cpu")
    translator.translate_folder(photos, tmp_path / "expected", "B", options)
    made = files(job.out)
    expected = files(tmp_path / "expected")
    assert made.keys() == expected.keys()
    pictures = [name for name in made if name.endswith(".png")]
    assert len(pictures) == 4
    assert all(made[name] == expected[name] for name in pictures)
    assert archive(job).stat().st_size > 0


def test_files_of_one_name_are_told_apart(workspace: Workspace, tmp_path: Path) -> None:
    pair = [draw(tmp_path / place / "same.png", seed=i) for i, place in enumerate("ab")]
    job = wait(start_files(workspace, pair, Wish("run", "A", "B")))
    assert [entry.path for entry in job.entries] == ["same-2.png", "same.png"]


def test_bad_files_have_their_sentence_and_the_rest_is_done(
    workspace: Workspace, tmp_path: Path
) -> None:
    good = draw(tmp_path / "good.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:60])
    empty = tmp_path / "empty.png"
    empty.touch()
    note = tmp_path / "note.txt"
    note.write_text("hello")
    job = wait(start_files(workspace, [broken, empty, good, note], Wish("run", "A", "B")))
    assert job.state == "done"
    said = {entry.path: entry.reason for entry in job.entries}
    assert said["good.png"] is None
    assert said["empty.png"] == "empty file"
    assert "truncated" in str(said["broken.png"])
    assert "not an image of a supported format" in str(said["note.txt"])


def test_none_and_too_many_files_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures: drop some"):
        start_files(workspace, [], Wish("run"))
    with pytest.raises(ValueError, match=f"at most {MOST_FILES} at once"):
        start_files(workspace, [tmp_path / "x.png"] * (MOST_FILES + 1), Wish("run"))


def test_a_folder_is_written_below_the_workspace(workspace: Workspace) -> None:
    job = wait(start_folder(workspace, "photos", "out/deep", Wish("run", "A", "B")))
    assert job.state == "done"
    assert set(manifest(workspace.folder / "out" / "deep")) == {f"{i}.png" for i in range(4)}
    assert not job.in_scratch
    again = wait(start_folder(workspace, "photos", "out/deep", Wish("run", "A", "B")))
    assert again.state == "failed"
    assert "holds what an earlier run has written" in again.message


@pytest.mark.parametrize(
    ("place", "out"),
    [("../x", "out"), ("photos", "../out"), ("/etc", "out"), ("no", "out"), ("photos", ".")],
)
def test_other_places_are_refused(workspace: Workspace, place: str, out: str) -> None:
    with pytest.raises(ValueError, match="below|folder of their own"):
        start_folder(workspace, place, out, Wish("run", "A", "B"))


def test_mistakes_end_a_job_with_the_command_lines_sentence(workspace: Workspace) -> None:
    job = wait(start_folder(workspace, "photos", "", Wish("run", "A", "Z")))
    assert job.state == "failed"
    assert job.message == "--to Z: this model has the domains A and B"


def test_jobs_wait_for_each_other(workspace: Workspace) -> None:
    going = threading.Event()

    def wait_and_fail(progress: Progress) -> FolderJob:
        going.wait()
        raise ValueError("ended")

    first = Job(wait_and_fail, workspace.folder, workspace.scratch / "first")
    workspace.jobs.start(first)
    second = start_folder(workspace, "photos", "", Wish("run", "A", "B"))
    third = start_folder(workspace, "photos", "", Wish("run", "A", "B"))
    assert workspace.jobs.before(third) == 2
    assert second.state == "waiting"
    third.cancel()
    going.set()
    assert wait(second).state == "done"
    assert wait(third).state == "cancelled"


def test_a_cancelled_job_leaves_a_manifest(workspace: Workspace) -> None:
    many = workspace.folder / "many"
    for i in range(60):
        draw(many / f"{i}.png", seed=i)
    out = workspace.folder / "out"

    def make(progress: Progress) -> FolderJob:
        def report(done: float, total: int) -> None:
            if done >= 1:
                job.cancel()
            progress(done, total)

        return Wish("run", "A", "B").job(workspace, many, out, report, dropped=True)

    job = Job(make, out, workspace.scratch / "job")
    wait(workspace.jobs.start(job))
    assert job.state == "cancelled"
    lines = manifest(out).values()
    assert {line["status"] for line in lines} == {"ok", "skipped"}
    assert {line["reason"] for line in lines if line["status"] == "skipped"} == {"interrupted"}


def test_the_oldest_jobs_are_forgotten(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 1)
    photos = sorted((workspace.folder / "photos").iterdir())
    first, second, third = (
        wait(start_files(workspace, photos[:1], Wish("run", "A", "B"))) for _ in range(3)
    )
    assert workspace.jobs.get(first.id) is None
    assert not first.scratch.exists()
    assert workspace.jobs.get(second.id) is second
    assert second.scratch.exists()
    assert workspace.jobs.get(third.id) is third


def test_an_unexpected_error_does_not_end_the_queue(workspace: Workspace) -> None:
    def fail(progress: Progress) -> FolderJob:
        raise KeyError("lost")

    job = wait(workspace.jobs.start(Job(fail, workspace.folder, workspace.scratch / "job")))
    assert job.state == "failed"
    assert job.message == "KeyError: 'lost'"
    photos = sorted((workspace.folder / "photos").iterdir())
    assert wait(start_files(workspace, photos, Wish("run", "A", "B"))).state == "done"


def test_the_badge_follows_the_warning() -> None:
    threshold = RejectionThreshold(1.0, 0.999, "A", False)
    assert is_unlike([threshold.complaint(2.0)])
    assert not is_unlike(["has several frames, only the first is used"])
