"""The browser of pytest-playwright is the machine's own Chromium: nothing is downloaded."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(
            "no Chromium: install it (apt-get install chromium) to test the report in a browser"
        )
    return {**browser_type_launch_args, "executable_path": program}


@pytest.fixture(scope="session")
def base_url() -> None:
    """Stand in for pytest-playwright's own, at whose definition pytest 9 warns."""
