"""Options of an evaluation are checked when they are made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from translate.evaluation.options import EvaluationOptions


@pytest.mark.parametrize(
    ("option", "wrong"),
    [({"net": "resnet"}, "--lpips-net resnet"), ({"seed": -1}, "--seed -1")]
    + [({"styles": styles}, f"--styles {styles}") for styles in (0, -3)],
)
def test_wrong_options_name_option_and_value(option: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        EvaluationOptions(**option)
    with pytest.raises(ValueError, match=wrong):
        replace(EvaluationOptions(), **option)


def test_the_least_that_is_allowed() -> None:
    options = EvaluationOptions(net="squeeze", seed=0, styles=1)
    assert (options.net, options.seed, options.styles) == ("squeeze", 0, 1)


def test_options_do_not_change() -> None:
    options = EvaluationOptions()
    with pytest.raises(FrozenInstanceError):
        options.seed = -1  # type: ignore[misc]
