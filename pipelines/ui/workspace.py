"""What all tabs work with: the served folder, the models found, and those that are loaded."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.ui.jobs import Jobs
from pipelines.ui.paths import confined, relative
from translate.io.files import walk
from translate.models.metadata import RUN_MODEL, ModelInfo, model_file, read_info
from translate.zoo import SHIPPED

if TYPE_CHECKING:
    from translate.inference.predictor import Predictor
    from translate.models.checkpoint import ModelFile


class Workspace:
    """A folder served in the browser.

    Args:
        folder: whose files may be read and written below.
        model: a model file or a run folder, wherever it lies, that is offered first.

    Raises:
        ValueError: for a folder or a model that is not there.

    Attributes:
        folder: resolved.
        jobs: the folder translations asked for.
        scratch: a folder for uploads and results, which `close` removes.
    """

    def __init__(self, folder: Path, model: Path | None = None) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
        self.folder = folder.resolve()
        self.jobs = Jobs()
        self._given: dict[str, Path] = {}
        if model is not None:
            file = model_file(model)
            read_info(file)  # refused before the page is served
            self._given[str(model)] = file
        self._scratch = tempfile.TemporaryDirectory(prefix="introshift-ui-")
        self.scratch = Path(self._scratch.name).resolve()
        self._loading = threading.Lock()
        self._files: dict[Path, tuple[int, ModelFile]] = {}
        self._predictors: dict[tuple[str, str], Predictor] = {}

    def close(self) -> None:
        """End the jobs and remove the scratch folder."""
        self.jobs.close()
        self._scratch.cleanup()

    @property
    def uploads(self) -> Path:
        """The folder of uploads, and of what Gradio sends to the page."""
        return self.scratch / "gradio"

    def load_first(self) -> None:
        """Begin to load the model that is offered first, before it is asked for."""
        name = next(iter(self.models()))
        threading.Thread(target=self.predictor, args=(name,), daemon=True).start()

    def models(self) -> dict[str, Path]:
        """Find the model files by the names that the page gives them.

        The one given first, then those that come along, then those below the folder: a run folder
        stands for its model.
        """
        found = self._given | {name: model.file for name, model in SHIPPED.items()}
        for root, folders, names in walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            place = Path(root)
            if RUN_MODEL in names and not (place / RUN_MODEL).is_symlink():
                found.setdefault(relative(self.folder, place), place / RUN_MODEL)
        return found

    def model(self, name: str) -> Path:
        """Return the model file that a name means.

        Args:
            name: one of `models`, or a model file or run folder below the folder.

        Raises:
            ValueError: for a name that means none, and one that leads out of the folder.
        """
        if name in self._given:
            return self._given[name]
        path = confined(self.folder, name)
        if name in SHIPPED and not path.exists():
            return SHIPPED[name].file
        return model_file(path)

    def info(self, name: str) -> ModelInfo:
        """Read what a model says about itself, without loading it."""
        return read_info(self.model(name))

    def domain_folder(self, name: str, domain: str) -> Path | None:
        """Return a folder of pictures of a domain: the model's examples, or its training pictures.

        Returns:
            None where there are none, or none below the folder.
        """
        file = self.model(name)
        for model in SHIPPED.values():
            if model.file == file:
                return model.examples(domain)
        path = self.info(name).config.data.folder(domain).resolve()
        return path if path.is_dir() and path.is_relative_to(self.folder) else None

    def predictor(self, name: str, scale: str = "auto", strength: float = 1.0) -> Predictor:
        """Return a model ready for work; it is loaded again when its file has changed.

        Args:
            name: see `model`.
            scale: see `PredictorOptions`.
            strength: see there.
        """
        from translate.inference.predictor import Predictor
        from translate.inference.predictor_options import PredictorOptions
        from translate.models.checkpoint import load_model

        path = self.model(name)
        with self._loading:
            changed = os.stat(path).st_mtime_ns
            known = self._files.get(path)
            if known is None or known[0] != changed:
                known = self._files[path] = changed, load_model(path)
            file = known[1]
            if strength != 1:  # there are many, and all share the weights
                return Predictor(file, options=PredictorOptions(scale=scale, strength=strength))
            predictor = self._predictors.get((file.sha256, scale))
            if predictor is None:
                predictor = Predictor(file, options=PredictorOptions(scale=scale))
                self._predictors[file.sha256, scale] = predictor
            return predictor
