"""A headless Chromium for tests of the page. None is downloaded: where there is none, the tests are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars"),
)


def skip_without() -> None:
    """Skip the test, or the module, where Chromium, its driver or selenium is missing."""
    pytest.importorskip("selenium", reason="needs selenium, which is in the extra `dev`")
    if not (_browser() and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver on the path", allow_module_level=True)


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A driver whose browser keeps everything of its own in the empty folder `profile`."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _browser()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def show(driver: Any, page: Path, width: int, scheme: str = "light", height: int = 900) -> None:
    """Load the page from disk in a window of so many CSS pixels, with colours for a `light` or `dark` desktop."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
    driver.get(page.resolve().as_uri())
