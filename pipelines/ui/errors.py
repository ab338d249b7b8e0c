"""Mistakes told on the page in the sentences of the command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import gradio as gr

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def told_on_the_page() -> Iterator[None]:
    """Turn a mistake of the visitor's into a message on the page."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise gr.Error(str(error), title="", print_exception=False) from error


def told(function: F) -> F:
    """Have a function's mistakes told on the page; it may be a generator."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with told_on_the_page():
                yield from function(*args, **kwargs)

        return cast(F, steps)

    @functools.wraps(function)
    def once(*args: Any, **kwargs: Any) -> Any:
        with told_on_the_page():
            return function(*args, **kwargs)

    return cast(F, once)
