"""One headless browser for all tests here, and the example's report opened in it at two widths."""

import importlib.util
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from brg_prob.report import write_report
from brg_prob.summary import summarise

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"laptop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
REQUIRED = "BRG_PROB_REQUIRE_BROWSER"
MODEL = {"source": f"x = '</pre>{example.HOSTILE}'", "sha256": "ab" * 32}


@dataclass
class Visit:
    """A page in the browser, with everything that should not happen there."""

    page: object
    address: str
    troubles: list = field(default_factory=list)

    def watch(self):
        """Record messages on the console, errors, dialogs, and requests beyond the file itself."""
        page = self.page
        page.on("console", lambda said: self.troubles.append(f"console {said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("dialog", self._dialog)
        return self

    def _request(self, request):
        own = request.url.split("#")[0] == self.address
        if not own and not request.url.startswith(("data:", "blob:")):
            self.troubles.append(f"request: {request.url}")

    def _dialog(self, dialog):
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self):
        """Load the page."""
        self.page.goto(self.address)
        return self


def _missing(reason):
    if os.environ.get(REQUIRED):
        pytest.fail(f"{reason}, and {REQUIRED} is set")
    pytest.skip(f"{reason}; these tests open the report in one")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; skips without one, fails instead where the environment asks for it."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        _missing(f"no browser found ({', '.join(BROWSERS)})")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def tree():
    """The example's tree, which the page must agree with."""
    return example.example_tree()


@pytest.fixture(scope="session")
def report(tree, tmp_path_factory):
    """The example's report as a file; its name has a space and a letter beyond ASCII."""
    run = SimpleNamespace(tree=tree, summary=summarise(tree), model=MODEL)
    return write_report(run, tmp_path_factory.mktemp("report") / "run é 1.html")


@pytest.fixture(scope="session")
def visit(browser):
    """Return a function that opens a file in a context of its own."""
    contexts = []

    def opened(path, size="laptop", *, load=True, **options):
        context = browser.new_context(viewport=SIZES[size], **options)
        context.set_default_timeout(20_000)
        contexts.append(context)
        found = Visit(context.new_page(), Path(path).as_uri()).watch()
        return found.go() if load else found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session", params=SIZES)
def report_opened(request, visit, report):
    """The report with its panels drawn, at a laptop's and at a phone's width."""
    found = visit(report, request.param)
    found.page.locator("#moving[data-at]").wait_for()
    return found


@pytest.fixture
def opened(report_opened):
    """The report as a reader finds it; what a test changed is taken back."""
    page = report_opened.page
    yield report_opened
    page.emulate_media(media="screen", color_scheme="light")
    page.locator("#scale").fill("0")
    page.locator('#moving[data-at="0"]').wait_for()
    page.evaluate(
        "() => { delete document.documentElement.dataset.theme; scrollTo(0, 0);"
        " document.querySelectorAll('.added').forEach((element) => element.remove()); }"
    )
