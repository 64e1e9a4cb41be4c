"""Photograph the head and the slider of a run's report: ``python docs/report_picture.py RUN PICTURE.png``."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT, COLOURS = 1100, 1400, 224
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
STEPS = 5
"""Scales down the flow from the posterior."""


def main(folder: str, target: str) -> None:
    """Render the report in a headless browser and keep two parts of it, in few colours."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"no browser found ({', '.join(BROWSERS)}); install one")
    page = Path(folder).resolve() / "report.html"
    with sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=browser, args=list(FLAGS)).new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light"
        )
        window.goto(page.as_uri())
        facts = window.locator("dl.facts").bounding_box()
        head = window.screenshot(
            clip={"x": 0, "y": 0, "width": WIDTH, "height": facts["y"] + facts["height"] + 24}
        )
        window.locator("#scale").focus()
        for _ in range(STEPS):
            window.keyboard.press("ArrowRight")
        window.evaluate("document.activeElement.blur()")
        window.wait_for_timeout(500)  # the moving figures are drawn by script
        box = window.locator("#moving").bounding_box()
        whole = window.screenshot(full_page=True)
        top = box["y"] + window.evaluate("window.scrollY")
    parts = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in (head, whole)]
    parts[1] = parts[1].crop((0, round(top) - 8, WIDTH, round(top + box["height"])))
    picture = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), "white")
    picture.paste(parts[0], (0, 0))
    picture.paste(parts[1], (0, parts[0].height))
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
