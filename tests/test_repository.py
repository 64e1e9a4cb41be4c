"""The promises the repository makes about itself: floors, wheel, metadata, the size of its files."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import brg_prob

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = sorted(path for room in ("brg_prob", "models") for path in (ROOT / room).rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60  # the goal is 40; docstrings are not counted

# The keys that the Citation File Format 1.2.0 knows, of those used here.
SHARED_CFF_KEYS = {"type", "title", "authors"}
CFF_KEYS = SHARED_CFF_KEYS | {
    "cff-version",
    "message",
    "abstract",
    "version",
    "license",
    "keywords",
    "references",
}
CFF_REFERENCE_KEYS = SHARED_CFF_KEYS | {"year", "journal", "volume", "start", "doi", "url", "identifiers"}
PAPERS = (
    "2405.17538 2305.10491 2212.11379 2405.06008 2212.11811 2108.01403 2008.08601 2112.04527 2307.03223 "
    "2405.00592 1711.00165 1806.07572 1902.06720 1910.00019 2106.10165 2305.02334 1903.08008"
)


def run(*command: str, cwd: Path = ROOT, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


def lint_imports(checkout: Path) -> subprocess.CompletedProcess:
    """Check the floors of a checkout; its folder comes first on the path, before the installed one."""
    program = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as main; "
        "main(['--no-cache', '--no-logo'])"
    )
    return run(sys.executable, "-c", program, cwd=checkout)


@pytest.fixture
def copied_checkout(tmp_path):
    for room in ("brg_prob", "models", "inference"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


# --- the floors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "forbidden", "contract"),
    [
        (
            "brg_prob/spectra/__init__.py",
            "import brg_prob.posterior",
            "A room imports only from floors below it",
        ),
        ("brg_prob/network/__init__.py", "import models.cosnet", "The library knows none"),
        (
            "brg_prob/erg/__init__.py",
            "from brg_prob.network import protocols",
            "The predictions know no network",
        ),
        ("models/cosnet.py", "from brg_prob import flow", "A network needs only"),
        ("brg_prob/cli/arguments.py", "from brg_prob.cli import commands", "The command line has floors"),
        ("brg_prob/store/locks.py", "from brg_prob.store import run_folder", "So have the run folders"),
    ],
)
def test_a_forbidden_import_is_found(copied_checkout, room, forbidden, contract):
    intact = lint_imports(copied_checkout)
    assert intact.returncode == 0, intact.stdout
    with (copied_checkout / room).open("a", encoding="utf-8") as file:
        file.write(f"\n{forbidden}\n")
    broken = lint_imports(copied_checkout)
    assert broken.returncode == 1
    assert re.search(rf"{re.escape(contract)}.* BROKEN", broken.stdout), broken.stdout


def test_a_module_without_a_floor_is_found(copied_checkout):
    (copied_checkout / "brg_prob" / "attic.py").write_text('"""A room that nobody planned."""\n')
    found = lint_imports(copied_checkout)
    assert found.returncode == 1
    assert "attic" in found.stdout


def test_no_file_name_stands_for_two_things():
    library = ROOT / "brg_prob"
    files = {}
    for path in sorted(library.rglob("*.py")):
        if path.name != "__init__.py":
            files.setdefault(path.name, []).append(path.relative_to(library).as_posix())
    assert {name: places for name, places in files.items() if len(places) > 1} == {}


# --- import and wheel ----------------------------------------------------------------------------


def test_import_leaves_no_live_arrays_and_no_changed_settings():
    """Every module, and every public name; the control comes last: an array that is alive is seen."""
    program = """
import importlib, pkgutil
import jax, numpyro
before = dict(jax.config.values)
import brg_prob
for module in pkgutil.walk_packages(brg_prob.__path__, "brg_prob."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in brg_prob.__all__:
    getattr(brg_prob, name)
assert dict(jax.config.values) == before, "brg_prob changed jax's configuration"
print(len(jax.live_arrays()))
kept = jax.numpy.zeros(3)
print(len(jax.live_arrays()))
"""
    result = run(sys.executable, "-W", "error", "-c", program)
    assert result.returncode == 0, result.stderr
    before, control = map(int, result.stdout.split())
    assert before == 0
    assert control > 0


def test_the_wheel_holds_the_library_and_nothing_else(tmp_path):
    """Built from a copy, so that nothing is written here, with a template beside the modules."""
    for name in ("brg_prob", "models", "inference", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "brg_prob" / "report" / "probe.html.j2").write_text("{{ title }}")
    built = run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    version = PROJECT["project"]["version"]
    assert {name.split("/")[0] for name in names} == {"brg_prob", f"brg_prob-{version}.dist-info"}
    assert "brg_prob/report/probe.html.j2" in names
    # what `brg-prob new` copies
    assert {"brg_prob/networks/cosnet.py", "brg_prob/networks/mlp.py"} <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "brg_prob").rglob("*.py")}
    assert modules <= set(names)


# --- metadata ------------------------------------------------------------------------------------


def test_citation_is_well_formed_and_names_the_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert set(citation) <= CFF_KEYS
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    for work in [citation, *citation["references"]]:
        assert work["title"]
        assert work["authors"]
        for author in work["authors"]:
            assert set(author) in ({"name"}, {"given-names", "family-names"})
    for reference in citation["references"]:
        assert set(reference) <= CFF_REFERENCE_KEYS
    named = {i["value"] for reference in citation["references"] for i in reference["identifiers"]}
    assert named == {f"arXiv:{number}" for number in PAPERS.split()}


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert citation["license"] == PROJECT["project"]["license"]
    assert brg_prob.__version__ == version
    assert importlib.metadata.version("brg-prob") == version
    release = version.split(".dev")[0]
    heading = "[Unreleased]" if ".dev" in version else f"[{release}]"
    assert f"## {heading}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line) for line in pins), (
        "names and versions only"
    )
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in pins)}


def test_constraints_hold_a_version_for_every_requirement():
    pinned = constraints()
    extras = PROJECT["project"]["optional-dependencies"]
    for line in [*PROJECT["project"]["dependencies"], *(line for extra in extras.values() for line in extra)]:
        requirement = Requirement(line)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, line


def test_commit_hooks_use_the_tested_linter():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"ruff==([\d.]+)", hooks)) == {constraints()["ruff"]}


def test_every_third_party_import_is_a_declared_dependency():
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    parquet = PROJECT["project"]["optional-dependencies"]["parquet"]
    optional = {canonicalize_name(Requirement(line).name) for line in parquet}
    providers = importlib.metadata.packages_distributions()
    missing = {}
    for path in SOURCES:
        for module in imported_modules(path) - set(sys.stdlib_module_names) - {"brg_prob", "models"}:
            providing = {canonicalize_name(name) for name in providers.get(module, [module])}
            # jaxlib comes with jax, arviz_base with arviz: one package in several distributions.
            family = {canonicalize_name(module).split("-")[0], canonicalize_name(module)}
            if not (providing | family) & (declared | optional):
                missing.setdefault(module, path.relative_to(ROOT).as_posix())
    assert missing == {}


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


# --- size ----------------------------------------------------------------------------------------


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from `def` to its end, without its docstring."""
    length = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        length -= first.end_lineno - first.lineno + 1
    return length


def test_code_lines_are_counted_without_the_docstring():
    function = ast.parse(
        'def f(a,\n      b):\n    """One.\n\n    Two.\n    """\n    c = a\n    return b\n'
    ).body[0]
    assert code_lines(function) == 4


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_can_be_read_in_one_go(path):
    text = path.read_text(encoding="utf-8")
    length = len(text.splitlines())
    assert length <= LONGEST_FILE
    too_long = {
        node.name: code_lines(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > LONGEST_FUNCTION
    }
    assert too_long == {}


SCHEMES = {"Diffusion", "Shell", "Tempering"}
ENGINES = {"Exact", "NUTS", "SVI", "Laplace", "Ensemble", "GradientFlow", "SgdExact", "Given"}
NETWORKS = {"Bound", "BoundReadout", "GaussianField", "ReadoutTheory", "TemperedTheory", "GaussianTheory"}
HOMES = {**dict.fromkeys(SCHEMES, "flow"), **dict.fromkeys(ENGINES, "posterior")}
HOMES |= dict.fromkeys(NETWORKS, "theory") | dict.fromkeys(("Bound", "BoundReadout"), "network")
ONE_WAY = ("charts", "correspondence", "flow", "observables", "pipeline")


def asked_of_classes(tree, room):
    """Return the lines in which code of a room asks what something is, instead of what it can do."""
    for node in ast.walk(tree):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if called == "isinstance":
            names = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            if any(HOMES.get(name, room) != room for name in names):
                yield node.lineno
        if room in ONE_WAY and (called == "hasattr" or isinstance(node, ast.Match)):
            yield node.lineno
        left = node.left if isinstance(node, ast.Compare) else None
        if room in ONE_WAY and isinstance(left, ast.Call) and getattr(left.func, "id", "") == "type":
            yield node.lineno
        if room in ONE_WAY and isinstance(node, ast.Constant) and node.value == "kind":
            yield node.lineno


def test_what_a_scheme_an_engine_or_a_network_is_is_asked_in_its_own_room_alone():
    found = []
    for path in (ROOT / "brg_prob").rglob("*.py"):
        room = path.relative_to(ROOT / "brg_prob").parts[0]
        lines = asked_of_classes(ast.parse(path.read_text(encoding="utf-8")), room)
        found += [f"{path.relative_to(ROOT)}:{line}" for line in lines]
    assert found == []
    wrong = "isinstance(scheme, Shell)\nhasattr(engine, 'along')\ntype(scheme) is Shell\ntree.attrs['kind']"
    assert list(asked_of_classes(ast.parse(wrong), "pipeline")) == [1, 2, 3, 4]
    assert list(asked_of_classes(ast.parse("isinstance(scheme, Shell)"), "flow")) == []
