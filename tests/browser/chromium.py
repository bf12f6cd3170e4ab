"""The browser: the system's Chromium, or the one Playwright has brought."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

__all__ = ["launch"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ON_MACOS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launch(playwright: Playwright) -> Browser:
    """Start a headless Chromium. Raises RuntimeError if there is none."""
    return playwright.chromium.launch(executable_path=_program(playwright), args=[*_FLAGS])


def _program(playwright: Playwright) -> str:
    on_path = [found for name in _NAMES if (found := shutil.which(name))]
    elsewhere = [*_ON_MACOS, playwright.chromium.executable_path]
    programs = [*on_path, *(path for path in elsewhere if Path(path).is_file())]
    if not programs:
        raise RuntimeError(
            f"The browser tests need a Chromium: none of {', '.join(_NAMES)} is on PATH. "
            "Install one with `sudo apt-get install chromium`, `brew install --cask chromium`, "
            "or `python -m playwright install chromium`."
        )
    return programs[0]
