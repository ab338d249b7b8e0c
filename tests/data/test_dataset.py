"""Folders to batches: what is left out, what is refused, order, augmentation, resuming."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translate.config import Config, from_dict
from translate.data import dataset as data
from translate.data.dataset import (
    Domain,
    UnpairedBatches,
    load_domain,
    load_domains,
    spill_to_memmap,
)


def settings(root: Path | None = None, batch: int = 2, **data: object) -> Config:
    return from_dict(
        {
            "data": {"root": str(root), "size": 16, "channels": 1, **data},
            "train": {"batch_size": batch},
        }
    )


def picture(path: Path, size: tuple[int, int] = (16, 16), value: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def domains(counts: tuple[int, ...], shape: tuple[int, int, int] = (16, 16, 1)) -> list[Domain]:
    """Domain d's image i is constant 100 d + i, so that a batch shows where it came from."""
    return [
        Domain("ABC"[d], [np.full(shape, 100 * d + i, np.uint8) for i in range(n)], {})
        for d, n in enumerate(counts)
    ]


def test_folders_become_arrays_and_broken_files_are_reported(tmp_path: Path) -> None:
    for name in ("A", "B"):
        picture(tmp_path / f"train{name}" / "one.png", (40, 20))
        picture(tmp_path / f"train{name}" / "sub" / "two.png", (16, 16))
    (tmp_path / "trainA" / "broken.png").write_bytes(b"\x89PNG not really")
    a, b = load_domains(settings(tmp_path).data)
    assert [image.shape for image in a.images] == [(16, 32, 1), (16, 16, 1)]
    assert [path.name for path in a.failed] == ["broken.png"]
    assert not b.failed


@pytest.mark.parametrize(
    ("files", "share", "held"), [(40, 0.25, 10), (40, 0.05, 0), (20, 0.5, 10), (300, 0.5, 128)]
)
def test_a_share_is_held_out_and_not_trained_on(
    tmp_path: Path, files: int, share: float, held: int
) -> None:
    for i in range(files):
        picture(tmp_path / "trainA" / f"{i:03d}.png", value=i % 256)
    domain = load_domain("A", tmp_path / "trainA", settings(tmp_path, held_out=share).data)
    assert len(domain.held_out) == held
    assert len(domain.images) == files - held
    if files == 40:
        values = [int(image[0, 0, 0]) for image in [*domain.images, *domain.held_out]]
        assert sorted(values) == list(range(40)), "every image is in one of the two"
    batches = UnpairedBatches([domain], settings())
    assert len(batches.held_out(0)) == (held or files)


@pytest.mark.parametrize(("files", "message"), [(0, "0 usable images"), (1, "1 usable image;")])
def test_a_domain_needs_two_images(tmp_path: Path, files: int, message: str) -> None:
    (tmp_path / "trainA").mkdir()
    for i in range(files):
        picture(tmp_path / "trainA" / f"{i}.png")
    with pytest.raises(ValueError, match=message):
        load_domain("A", tmp_path / "trainA", settings(tmp_path).data)


def test_a_missing_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trainA: no such folder for domain A.*data\.root"):
        load_domains(settings(tmp_path).data)


def test_an_epoch_shows_every_image_once() -> None:
    batches = UnpairedBatches(domains((6, 4)), settings(batch=2))
    seen = [batches.batch(step)[:2, 0, 0, 0].tolist() for step in range(6)]
    assert Counter(sum(seen[:3], [])) == Counter(range(6))
    assert Counter(sum(seen[3:], [])) == Counter(range(6))
    assert seen[:3] != seen[3:]


def test_domains_of_other_sizes_have_epochs_of_their_own() -> None:
    batches = UnpairedBatches(domains((5, 2)), settings(batch=3))
    values = np.concatenate([batches.batch(step)[3:, 0, 0, 0].numpy() for step in range(4)])
    assert Counter(values.tolist()) == {100: 6, 101: 6}


def test_a_batch_depends_on_nothing_but_seed_and_step() -> None:
    first, second = (
        UnpairedBatches(domains((9, 7), (20, 24, 1)), settings(crop="random", flip=0.5))
        for _ in range(2)
    )
    for step in range(5):
        first.batch(step)
    assert first.batch(7).equal(second.batch(7))


def test_crops_and_flips_move_pixels_and_keep_sizes() -> None:
    ramp = [
        Domain(n, [np.tile(np.arange(24, dtype=np.uint8), (20, 1))[:, :, None]] * 2, {})
        for n in "AB"
    ]
    batches = UnpairedBatches(ramp, settings(crop="random", flip=0.5))
    rows = [batches.batch(step)[i, 0, 0] for step in range(10) for i in range(4)]
    starts = {int(row[0]) for row in rows}
    assert all(row.shape == (16,) for row in rows)
    assert len(starts) > 5
    assert {int(row[1]) - int(row[0]) for row in rows} == {1, -1}
    resized = UnpairedBatches(ramp, settings(crop="resized"))
    assert resized.batch(0).shape == (4, 1, 16, 16)
    center = UnpairedBatches(ramp, settings())
    assert center.batch(0)[0, 0, 0].tolist() == list(range(4, 20))


def test_images_beyond_the_budget_wait_in_a_file_and_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (16 + i % 3, 16, 3), dtype=np.uint8) for i in range(9)]
    for budget, in_memory in ((10**9, 9), (images[0].nbytes * 2, 1), (0, 0)):
        kept = spill_to_memmap(iter(images), budget)
        assert all(np.array_equal(a, b) for a, b in zip(kept, images, strict=True))
        assert sum(any(image is a for a in images) for image in kept) == in_memory
    for i in range(5):
        picture(tmp_path / "trainA" / f"{i}.png", value=i)
    folders = [
        load_domain("A", tmp_path / "trainA", settings(tmp_path, memory_gb=gb).data)
        for gb in (8.0, 0.0)
    ]
    whole, spilled = (UnpairedBatches([domain], settings()).batch(3) for domain in folders)
    assert torch.equal(whole, spilled)


def test_data_on_the_device_gives_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = UnpairedBatches(domains((5, 3)), settings(), torch.device("cpu"))
    monkeypatch.setattr(data, "free_memory", lambda device: 10**6)
    resident = UnpairedBatches(domains((5, 3)), settings(), torch.device("cpu"))
    assert resident.resident
    assert not plain.resident
    assert all(torch.equal(resident.batch(step), plain.batch(step)) for step in range(7))
    assert not UnpairedBatches(domains((5, 3)), settings(flip=0.5), torch.device("cpu")).resident
    assert not UnpairedBatches(
        domains((5, 3), (16, 17, 1)), settings(), torch.device("cpu")
    ).resident
    monkeypatch.setattr(data, "free_memory", lambda device: 2 * 8 * 256)
    assert not UnpairedBatches(domains((5, 3)), settings(), torch.device("cpu")).resident


def test_a_file_that_vanishes_while_the_folder_is_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        picture(tmp_path / "trainA" / f"{i}.png")
    listing = data.list_images

    def list_and_lose(folder: Path) -> list[Path]:
        found = listing(folder)
        (folder / "2.png").unlink()
        return found

    monkeypatch.setattr(data, "list_images", list_and_lose)
    domain = load_domain("A", tmp_path / "trainA", settings(tmp_path).data)
    assert len(domain.images) == 3
    assert [path.name for path in domain.failed] == ["2.png"]


def test_pictures_that_are_nearly_black_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("A", "B"):
        (tmp_path / f"train{name}").mkdir()
        for i in range(3):
            twelve = np.full((16, 16), 4095 if name == "A" else 65535, np.uint16)
            Image.fromarray(twelve).save(tmp_path / f"train{name}" / f"{i}.png")
    load_domains(settings(tmp_path).data)
    (said,) = caplog.messages
    assert said.startswith("3 pictures of A: nearly black: no value is above 4095 of 65535")
    caplog.clear()
    a, _ = load_domains(settings(tmp_path, range="auto").data)
    assert a.images[0].max() == 255
    (said,) = caplog.messages
    assert said.startswith("3 pictures of A: read as 12 bits")
