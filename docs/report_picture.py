"""Photograph the first screen of a run's report: ``python docs/report_picture.py RUN PICTURE.png``."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT, COLOURS = 1180, 1500, 128
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def main(folder: str, target: str) -> None:
    """Render the report in a headless browser and keep its upper part, in few colours."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"no browser found ({', '.join(BROWSERS)}); install one")
    page = Path(folder).resolve() / "report.html"
    with sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=browser, args=list(FLAGS)).new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light"
        )
        window.goto(page.as_uri())
        window.wait_for_timeout(1500)  # the moving figures are drawn by script
        shot = window.screenshot()
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
