"""Models that come with the package: weights, a card, and unseen pictures to try them on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent


@dataclass(frozen=True)
class ShippedModel:
    """A model in a folder of this package.

    Attributes:
        name: what it is called where a model is asked for, and its folder.
        about: what it translates.
        suits: whose pictures of one's own it is for.
        sha256: of the model file, in hexadecimal.
    """

    name: str
    about: str
    suits: str
    sha256: str

    @property
    def folder(self) -> Path:
        """Where all its files are."""
        return ROOT / self.name

    @property
    def file(self) -> Path:
        """The model file."""
        return self.folder / "model.safetensors"

    @property
    def card(self) -> Path:
        """What it was trained on and how, its licence, quality and limits."""
        return self.folder / "README.md"

    def examples(self, domain: str) -> Path:
        """Return the folder of a domain's pictures, none of which the training has seen."""
        return self.folder / "examples" / domain

    def expected(self, domain: str) -> Path:
        """Return the folder of some examples as the model translates them to a domain."""
        return self.folder / "expected" / domain


_MODELS = (
    ShippedModel(
        name="typefaces",
        about="characters of an upright sans-serif and a bold slanted serif typeface",
        suits="dark characters on white",
        sha256="fd500e2b9c09449c648c4c0cad7266463573d0772a4582434d8071ed564c1277",
    ),
    ShippedModel(
        name="emoji",
        about="emoji drawn with light and shade and emoji drawn flat",
        suits="pictures in colour, icons above all",
        sha256="5fc447d0fed1e30e204b4dc501ca6fcb833036ad71c5dfdcb36bec3844e18d87",
    ),
)
SHIPPED = {model.name: model for model in _MODELS}
