"""`introshift init`: write a config that fits the pictures, and say what to expect."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import duration, log, result
from pipelines._options import Device, Json

if TYPE_CHECKING:
    from translate.data.duplicates import Copies, Duplicates
    from translate.data.inspection import Surveys
    from translate.data.layout import Layout
    from translate.training.plan import Plan

HEADER = (
    "# What differs from the defaults; folders are relative to this file.\n"
    "# All settings: introshift settings\n"
)
WIDTH = 88  # of the plan's lines


def command(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER ...",
            help="A folder with a sub-folder for each domain (trainA and trainB, or any names), or "
            "a folder for each domain. Domains are named after their folders, or by NAME=FOLDER. "
            "A model of one domain alone can draw new pictures, not translate.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Config file to write.")] = Path(
        "introshift.yaml"
    ),
    size: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=2048,
            help="Training size in pixels; default: the largest that the pictures fill and whose "
            "training ends within hours on this machine.",
        ),
    ] = None,
    detail: Annotated[
        bool | None,
        typer.Option(
            "--detail/--no-detail",
            help="Whether translations are the pictures themselves in other colours, or drawn anew "
            "(gray drawings always are); default: as the folders suggest.",
        ),
    ] = None,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing config.")] = False,
    as_json: Json = False,
) -> None:
    """Look at folders of pictures, time the training, write a config and say what to expect."""
    if out.exists() and not force:
        raise ValueError(f"{out}: exists already; give another -o or --force")

    import yaml

    from translate.config import from_dict
    from translate.data.duplicates import find_duplicates
    from translate.data.inspection import advise, inspect_folders, with_folders
    from translate.data.layout import find_domains
    from translate.io.files import write_text
    from translate.io.outputs import prepare_output

    layout = find_domains(folders)
    if layout.understood:
        log(layout.understood)
    surveys = replace(inspect_folders(layout.domains), detail=detail)
    prepare_output(out, *layout.domains.values(), *layout.tests.values())
    duplicates = find_duplicates(_all_folders(layout))

    log("timing the training")
    plan = _plan(surveys, size, device)
    values = with_folders(plan.settings, layout, out.parent)
    from_dict(values, str(out))
    write_text(out, HEADER + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    notes = [*_notes(surveys, plan), *_notes_on_copies(duplicates)]
    advice = [*advise(surveys), *_advice_on_copies(duplicates), *_advice_on_time(plan, size)]
    words = _in_words(layout, surveys, plan, size)
    lines = [line for label, texts in words.items() for line in _wrapped(label, texts)]
    lines += _wrapped("note", notes) + _wrapped("advice", advice)
    following = f"introshift train {shlex.quote(str(out))}"
    data = {
        "config": str(out),
        **values,
        "plan": {
            "pictures": {name: seen.count for name, seen in surveys.domains.items()},
            "device": plan.time.device,
            "minutes": round(plan.minutes, 1),
            "in_words": words,
            "notes": notes,
            "advice": advice,
            "next": following,
        },
    }
    result(data, "\n".join([*lines, "", f"{out} is written; next: {following}"]), as_json)


def _all_folders(layout: Layout) -> dict[str, Path]:
    tests = {f"the test pictures of {name}": path for name, path in layout.tests.items()}
    return {**layout.domains, **tests}


def _plan(surveys: Surveys, size: int | None, device: str) -> Plan:
    from translate.runtime.affinity import bind_openmp_threads

    binding = bind_openmp_threads()  # before torch is imported

    from translate.runtime.device import keep_freed_memory
    from translate.training.plan import plan_training

    keep_freed_memory()
    with binding.hold():
        return plan_training(surveys, size, device)


def _in_words(
    layout: Layout, surveys: Surveys, plan: Plan, size: int | None
) -> dict[str, list[str]]:
    """Return the plan: label -> texts, each for a line or more."""
    from translate.config import TrainConfig

    pictures = []
    for name, seen in surveys.domains.items():
        tests = f", tests in {layout.tests[name]}" if layout.tests else ""
        pixels = _range(min(seen.sides), max(seen.sides))
        pictures.append(f"{name}: {seen.count} of {pixels} px in {layout.domains[name]}{tests}")

    train = TrainConfig(**plan.settings.get("train", {}))
    images = " + ".join([str(train.batch_size)] * len(surveys.domains))
    training = (
        f"{train.steps} steps of {images} pictures on {plan.time.device} "
        f"({plan.time.precision}): {_about(plan.minutes)}"
    )
    return {
        "pictures": pictures,
        "size": [f"{plan.size} px, {_reason(plan, size)}"],
        "kind": [_kind(surveys, plan)],
        "network": [f"{_network(plan)}; {plan.time.parameters / 1e6:.1f} million parameters"],
        "training": [training],
    }


def _kind(surveys: Surveys, plan: Plan) -> str:
    """Say what the pictures look like, and what follows from it."""
    if len(surveys.domains) == 1:
        return "one domain: new pictures are drawn, nothing is translated"
    if plan.settings["model"].get("warp") != 0:
        return "drawings: translations may move and redraw strokes"
    what = "photographs" if surveys.are_photographs else "coloured pictures"
    if surveys.detail is not None:
        why = "as asked"
    elif surveys.lie_apart:
        why = "of domains that lie apart"
    elif surveys.differ_in_kind:
        why = "of things of another kind"
    else:
        why = "of domains that overlap"
    kept = plan.settings["model"]["detail"]
    return f"{what} {why}: translations {'keep layout and detail' if kept else 'are drawn anew'}"


def _network(plan: Plan) -> str:
    """Name the network, and say what it is made for."""
    model = plan.settings["model"]
    if "preset" in model:
        return f"preset {model['preset']}, made for about {plan.size} px"
    sizes = ", ".join(f"{key} {model[key]}" for key in ("fold", "levels", "width"))
    made_for = "keeps detail" if model.get("detail") else "small enough for a CPU"
    return f"{sizes}: {made_for}"


def _reason(plan: Plan, size: int | None) -> str:
    """Say why the training size is what it is."""
    if size is not None:
        return "as --size says"
    if not plan.too_long:
        return "the largest that most pictures fill"
    hours = "; ".join(
        f"{tried} px would take {_about(60 * long)}" for tried, long in plan.too_long.items()
    )
    return f"the largest whose training ends within hours here: {hours}"


def _notes(surveys: Surveys, plan: Plan) -> Iterator[str]:
    """Say what is normal and good to know."""
    from statistics import median

    from translate.data.inspection import LEAST_LOOKS, suggest_settings
    from translate.training.plan import BUSY

    small = [name for name, seen in surveys.domains.items() if median(seen.sides) < plan.size]
    if small:
        yield f"most pictures of {' and '.join(small)} are smaller than {plan.size} px: enlarged"
    if (
        plan.settings["model"].get("detail")
        and surveys.detail is None
        and surveys.differ_in_kind is None
    ):
        yield (
            "whether both folders show the same kind of thing could not be told (it takes "
            f"{LEAST_LOOKS} pictures of each and AlexNet's weights, introshift doctor); if shapes "
            "have to change, as of cats to dogs, add --no-detail"
        )
    if plan.share < BUSY:
        yield (
            f"other programs keep this machine busy ({plan.share:.0%} of it was free): "
            f"beside them the training takes {1 / plan.share:.1f} times as long"
        )
    largest = plan.fitting[0]
    if plan.on_cpu and plan.size < largest:
        yield f"on a machine with a GPU, init would propose {largest} px"
    elif plan.on_cpu and plan.settings["model"] != suggest_settings(surveys, plan.size)["model"]:
        yield "on a machine with a GPU, init would propose a larger network"
    if len(surveys.domains) == 1:
        yield "one domain: its model draws and compares pictures; translation needs a second folder"


def _advice_on_time(plan: Plan, size: int | None) -> Iterator[str]:
    from translate.training.plan import HOURS

    if plan.minutes > 60 * HOURS:
        smaller = "a smaller --size" if size is not None else "--max-minutes"
        yield (
            f"the training takes {_about(plan.minutes)} on this machine; {smaller} or a GPU "
            "makes it shorter"
        )


def _is_test(name: str) -> bool:
    return name.startswith("the test pictures of ")


def _notes_on_copies(found: Duplicates) -> Iterator[str]:
    """Say what is no mistake: near copies within a domain, as frames of a film are."""
    for (first, second), copies in found.alike.items():
        if first == second:
            yield (
                f"{_counted(copies)} of {first} {_looks(copies)} like another one there "
                f"({_example(copies)}): they teach less than their number"
            )
    if found.compared < found.total:
        yield f"{found.compared} of {found.total} pictures were compared for near copies"


def _advice_on_copies(found: Duplicates) -> Iterator[str]:
    """Say what to do about copies, and about near copies in different folders."""
    for (first, second), copies in found.exact.items():
        if first == second:
            yield (
                f"{_counted(copies)} of {first} {_are(copies)} there twice, byte for byte "
                f"({_example(copies)}); remove the copies"
            )
        else:
            yield _advice_across(first, second, copies, f"{_are(copies)}, byte for byte,")
    for (first, second), copies in found.alike.items():
        if first != second:
            yield _advice_across(first, second, copies, f"{_looks(copies)} like pictures")


def _advice_across(first: str, second: str, copies: Copies, how: str) -> str:
    """Say what to do about pictures of the second folder that are in the first, too."""
    what = f"{_counted(copies)} of {second} {how} in {first} ({_example(copies)})"
    if _is_test(second) and not _is_test(first):
        return f"{what}; remove them from one of both, or evaluation looks better than it is"
    return f"{what}; remove them from one of both: what both have is not translated"


def _counted(copies: Copies) -> str:
    return f"{copies.count} picture{'s' * (copies.count != 1)}"


def _are(copies: Copies) -> str:
    return "is" if copies.count == 1 else "are"


def _looks(copies: Copies) -> str:
    return "looks" if copies.count == 1 else "look"


def _example(copies: Copies) -> str:
    first, second = copies.example
    return f"{second.name} as {first.name}"


def _about(minutes: float) -> str:
    return f"about {duration(60 * minutes)}" if minutes >= 1 else duration(60 * minutes)


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _wrapped(label: str, texts: list[str]) -> list[str]:
    """Return each text behind its label, wrapped; the label stands once."""
    import textwrap

    lines = []
    for i, text in enumerate(texts):
        head = f"{label if i == 0 or label in ('note', 'advice') else '':<10}"
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
