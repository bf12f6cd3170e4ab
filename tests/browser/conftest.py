"""One JupyterLab and one Chromium for all tests in here, a folder and tabs for each."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.chromium import launch
from tests.browser.lab import Lab
from tests.browser.server import LabServer
from tests.tiny import data_folder, model_folder


# Not longer than this package: Playwright keeps an event loop running, which others can't bear.
@pytest.fixture(scope="package")
def context() -> Iterator[BrowserContext]:
    """A browser profile of the tests' own."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser.new_context(viewport={"width": 1100, "height": 900})
        browser.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """The JupyterLab server."""
    started = LabServer(tmp_path_factory.mktemp("lab"))
    yield started
    started.close()


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model, and rows for it."""
    base = tmp_path_factory.mktemp("tiny")
    return model_folder(base, blocks=2), data_folder(base)


@pytest.fixture
def lab(
    server: LabServer,
    context: BrowserContext,
    tiny: tuple[Path, Path],
    request: pytest.FixtureRequest,
) -> Iterator[Lab]:
    """A folder with `model` and `data`; its tabs, kernels and workers are gone after the test."""
    folder = server.root / re.sub(r"\W+", "-", request.node.name)
    for source, name in zip(tiny, ("model", "data"), strict=True):
        shutil.copytree(source, folder / name)
    yield Lab(server, context, folder)
    for page in context.pages:
        page.close()
    server.end_kernels()
