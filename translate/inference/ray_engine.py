"""A folder's pictures translated by the workers of a Ray cluster: `translate --engine ray`.

The driver plans and tells, as for a run on one machine; Ray Data gives blocks of inputs to a pool
of actors, each with the model, and starts anew what is lost with one. An input's outputs follow
from the input alone and are whole or not there, so that a block may be done again.

IN, OUT and the model file lie where all machines see them by the same paths.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import platform
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from translate.inference.folder_work import FolderWork, Places
from translate.inference.manifest import ALL, MANIFEST, Entry, remove_unfinished
from translate.inference.planning import check
from translate.inference.task import Task
from translate.io.files import DiskFullError, Stamp
from translate.io.folders import LocalFolder
from translate.runtime.affinity import usable_cores

# of a block: the disk that is full, and the inputs that are over, by their places among all
Made: TypeAlias = tuple[str, list[tuple[int, dict[str, Any]]]]

BATCHES = 4  # in a block, which is given to an actor at once, and done again if that is killed
# decoding and encoding beside the model, in an actor of one core
WORKERS = 2
STORE_BYTES = 128 * 2**20  # of a cluster on this machine: paths and results alone pass through it
# without it, what Ray starts on this machine listens at 127.0.0.1 alone
LISTENS_TO_OTHERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def ray_engine(address: str | None = None, actors: int | None = None) -> Iterator[RayEngine]:
    """Join a Ray cluster, or start one on this machine, for a block.

    Ray's signal handlers are put into place here, before those of a run. What it starts listens at
    127.0.0.1 alone, unless this process has imported Ray before.

    Args:
        address: of the cluster, HOST:PORT or "auto"; None starts one.
        actors: that translate, each on a core or a GPU; default as many as there are.

    Raises:
        ValueError: in one line, where Ray is missing or the cluster cannot be reached.
    """
    check(actors is None or actors >= 1, f"--num-actors {actors}: must be at least 1")
    check(
        address is None or "://" not in address,
        f"--address {address}: run the command on a machine of the cluster, with --address auto",
    )
    # read when Ray is imported, and by what it starts
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address is None:
        os.environ[LISTENS_TO_OTHERS] = "0"
    try:
        import ray
        import ray.data
    except ImportError:
        raise ValueError("--engine ray: Ray is missing; pip install 'introshift[ray]'") from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    try:
        if address is None:
            ray.init(
                "local",
                num_cpus=actors or usable_cores(),
                object_store_memory=STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
        else:
            ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise ValueError(
            f"--engine ray: no cluster {where}: {' '.join(str(error).split())}"
        ) from None
    try:
        yield RayEngine(actors)
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class RayEngine:
    """Does the work on planned inputs by actors of the cluster that this process is in.

    Args:
        actors: how many translate, default one for each GPU, else for each core of the cluster.
    """

    actors: int | None = None

    def __call__(
        self, work: FolderWork, entries: Sequence[Entry], interrupted: threading.Event
    ) -> None:
        """Do the work in the place of `FolderWork.run`, whose arguments these are.

        What actors have in work at an interruption, a failure that stops or on a full disk is given
        up.

        Raises:
            DiskFullError: where no space is left.
            ValueError: where no actor can work.
        """
        with work.ending(entries, interrupted):
            try:
                with closing(self._blocks(work, entries)) as blocks:
                    for full, results in blocks:
                        for place, facts in results:
                            _note(facts, entries[place])
                            work.end(entries[place])
                        work.full = work.full or full
                        if interrupted.is_set() or work.full or work.stopped:
                            return
            finally:  # of actors that were killed
                remove_unfinished(work.places.outputs, entries, ALL)

    def _blocks(self, work: FolderWork, entries: Sequence[Entry]) -> Generator[Made]:
        """Yield what has become of blocks, as they are done; see `BlockWorker.translate`."""
        import ray

        if not entries:
            return
        gpus = ray.cluster_resources().get("GPU", 0)
        # as it was asked for: the driver may well have no GPU
        origin = work.predictor.origin
        on_gpu = gpus >= 1 and origin is not None and origin.device != "cpu"
        resources = {"num_cpus": 1, "num_gpus": 1} if on_gpu else {"num_cpus": 1}
        actors = self.actors or int(gpus if on_gpu else ray.cluster_resources()["CPU"])

        size = max(1, min(BATCHES * work.batch_size, len(entries) // (4 * actors)))
        rows = self._rows(entries, size)
        # in order: what comes before the first failure is done
        options = ray.data.ExecutionOptions(preserve_order=work.options.on_error == "stop")
        context = ray.data.DataContext.get_current().copy()
        context.execution_options = options
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        with ray.data.DataContext.current(context):
            data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                BlockWorker,
                fn_constructor_args=(ray.cloudpickle.dumps(work.task), work.places.absolute()),
                batch_size=None,
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(size=actors),
                **resources,
            )
            try:
                for row in data.iter_rows():
                    full, results = json.loads(row["block"])
                    yield full, results
            except ray.exceptions.RayActorError as error:
                raise _in_words(error) from error

    @staticmethod
    def _rows(entries: Sequence[Entry], size: int) -> list[dict[str, str]]:
        """Cut inputs into blocks of a size, each a row of one text."""
        numbered = list(enumerate(map(_plan, entries)))
        return [
            {"block": json.dumps(numbered[start : start + size])}
            for start in range(0, len(entries), size)
        ]


class BlockWorker:
    """What an actor of the cluster is: a model that translates blocks of planned inputs.

    Args:
        pickled: the `Task`: how each is translated. Read here, so that what is wrong with its
            model file is an error of this class and not of Ray's.
        places: where they are, absolute.

    Raises:
        ValueError: where this machine does not see them or the model file.
    """

    def __init__(self, pickled: bytes, places: Places) -> None:
        for folder, name in ((places.inputs, ""), (places.outputs, MANIFEST)):
            check(
                not isinstance(folder, LocalFolder) or (folder.folder / name).exists(),
                f"{folder}: not seen on {platform.node()}; IN, OUT and MODEL must be on storage "
                "that all machines of the cluster share, by the same paths",
            )
        task: Task = pickle.loads(pickled)
        options = task.options
        if options.workers is None:
            options = replace(options, workers=WORKERS)
        self.task = replace(task, options=options)
        self.places = places

    def __call__(self, rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Translate blocks, each a text of JSON; see `translate`."""
        done = [json.dumps(self.translate(json.loads(block))) for block in rows["block"]]
        return {"block": np.array(done, dtype=object)}

    def translate(self, block: Sequence[tuple[int, dict[str, Any]]]) -> Made:
        """Translate a block of inputs.

        Args:
            block: the inputs with their places among all.

        Returns:
            The disk that is full, if one is, and what has become of those that are over, by place.
        """
        places = {plan["path"]: place for place, plan in block}
        entries = [
            Entry(plan["path"], outputs=tuple(plan["outputs"]), warnings=tuple(plan["warnings"]))
            for _, plan in block
        ]
        over: list[Entry] = []
        work = FolderWork(
            self.task, self.places, over.append, lambda entry, share: None, threading.Event()
        )
        with suppress(DiskFullError):  # the driver is told
            work.run(entries, threading.Event())
        return work.full, [(places[entry.path], _facts(entry)) for entry in over]


def _in_words(error: Exception) -> Exception:
    """Return what an actor has told of in one line as an error of its own, else the error."""
    last = str(error).strip().rpartition("\n")[2]
    kind, _, message = last.partition(": ")
    return ValueError(f"--engine ray: {message}") if kind == "ValueError" else error


def _plan(entry: Entry) -> dict[str, Any]:
    """Return what an actor needs to know of an input."""
    return {"path": entry.path, "outputs": entry.outputs, "warnings": list(entry.warnings)}


def _facts(entry: Entry) -> dict[str, Any]:
    """Return what has become of an input in an actor."""
    return {
        "status": entry.status,
        "reason": entry.reason,
        "size": entry.size,
        "warnings": list(entry.warnings),
        "stamps": [(stamp.size, stamp.sha256) for stamp in entry.stamps],
    }


def _note(facts: dict[str, Any], entry: Entry) -> None:
    """Note in the driver what has become of an input; see `_facts`."""
    entry.status = facts["status"]
    entry.reason = facts["reason"]
    entry.size = facts["size"] and tuple(facts["size"])
    entry.warnings = tuple(facts["warnings"])
    entry.stamps = tuple(Stamp(size, sha256) for size, sha256 in facts["stamps"])
