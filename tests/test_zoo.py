"""The models that come with the package: whole, small, with a card, and found by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests._helpers.commands import call, fill
from translate.inference.translator import Translator
from translate.io.files import sha256
from translate.io.images import list_images, read_image
from translate.models.metadata import model_file, read_info
from translate.zoo import SHIPPED, ShippedModel

MODELS = pytest.mark.parametrize("model", SHIPPED.values(), ids=list(SHIPPED))


@MODELS
def test_a_model_is_the_one_that_was_shipped_and_small(model: ShippedModel) -> None:
    assert sha256(model.file) == model.sha256
    size = sum(path.stat().st_size for path in model.folder.rglob("*") if path.is_file())
    assert size < 3_200_000  # bytes
    info = read_info(model.file)
    assert info.config.data.root == str(model.folder), "its folders are named relative to it"
    for domain in info.config.data.names:
        assert info.config.data.folder(domain) == model.examples(domain)


@MODELS
def test_a_card_tells_data_licence_and_limits(model: ShippedModel) -> None:
    card = model.card.read_text("utf-8")
    for title in ("## Use", "## Data", "## Training", "## Quality", "## Limits", "## Licence"):
        assert f"\n{title}\n" in card
    for domain in read_info(model.file).config.data.names:
        assert f"`{domain}`" in card


@MODELS
def test_examples_are_translated_as_when_the_model_was_made(model: ShippedModel) -> None:
    translator = Translator.load(model.name, "cpu")
    names = translator.config.data.names
    for source, to in (names, names[::-1]):
        paths = list_images(model.expected(to))
        assert len(paths) == 2
        assert set(paths) < set(list_images(model.examples(source)))
        pictures = [read_image(model.examples(source) / path).pixels for path in paths]
        for path, made in zip(paths, translator.translate(pictures, to), strict=True):
            expected = read_image(model.expected(to) / path).pixels
            assert np.abs(made.astype(int) - expected).max() <= 2


def test_a_name_means_a_shipped_model_unless_it_means_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = SHIPPED["emoji"].file
    assert model_file("emoji") == shipped
    fill(tmp_path / "emoji", 1)  # a folder of pictures is no model
    assert model_file("emoji") == shipped
    (tmp_path / "emoji" / "model.safetensors").touch()
    assert model_file("emoji") == Path("emoji/model.safetensors")
    with pytest.raises(ValueError, match="emojis: no such file.*typefaces, emoji"):
        model_file("emojis")


def test_commands_take_the_name_of_a_shipped_model(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 2)
    code, _, err = call("translate", "typefaces", folder, tmp_path / "out", "--to", "serif")
    assert code == 0, err
    assert (tmp_path / "out" / "1.png").exists()
    code, _, err = call("sample", "typefaces", tmp_path / "drawn", "--domain", "sans", "--count", 2)
    assert code == 0, err
