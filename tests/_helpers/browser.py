"""A page in Chromium that must be whole in itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page


@contextmanager
def opened(page: Page, path: Path, *files: Path) -> Iterator[Page]:
    """The page of a file, which must ask for nothing but `files` and complain of nothing."""
    requests: set[str] = set()
    complaints: list[str] = []
    page.on("request", lambda request: requests.add(request.url.partition("?")[0]))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    yield page
    allowed = {file.as_uri() for file in (path, *files)}
    assert {url for url in requests if not url.startswith("data:")} <= allowed
    assert complaints == []


def screen(browser: Browser, width: int, scheme: str) -> BrowserContext:
    """A screen of a width in pixels, below 600 a phone's, in the light or dark scheme."""
    size = {"width": width, "height": 844}
    return browser.new_context(viewport=size, is_mobile=width < 600, color_scheme=scheme)


def fits(page: Page) -> bool:
    """Whether there is nothing to scroll sideways."""
    fitting: bool = page.locator("html").evaluate("element => element.scrollWidth <= innerWidth")
    return fitting
