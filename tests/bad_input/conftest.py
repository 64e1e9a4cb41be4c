"""A folder of bad files, and what holds for every command line that is refused."""

import re

import pytest

from brg_prob.cli import main

NETWORK = "import numpyro, numpyro.distributions as d\n"
DATACLASS = "from dataclasses import dataclass\n@dataclass\nclass Net:\n"


def rows(*values):
    """CSV rows 0,a  1,b  …"""
    return "".join(f"{at},{value}\n" for at, value in enumerate(values))


FILES = {
    "good.csv": "x,y\n" + rows(3, 1, 4, 1, 5, 9, 2, 6),
    "empty.csv": "",
    "comments.csv": "# nothing\n\n# else\n",
    "header.csv": "x,y\n",
    "headless.csv": "1,2\n3,4\n",
    "one.csv": "x,y\n0,1\n",
    "two.csv": "x,y\n0,1\n1,3\n",
    "words.csv": "x,y\n" + rows(1, "calm", 2),
    "dates.csv": "when,y\n01/02/2020,1\n02/03/2020,2\n",
    "hidden dates.csv": "when,y\n2020-01-01,1\nlate,2\n2020-03-01,0\n",
    "commas.csv": 'x,y\n0,"1,120"\n1,"2,340"\n2,"1,120"\n',
    "prices.csv": "x,y\n" + rows("$3", "$4", "$5"),
    "percent.csv": "x,y\n" + rows("3 %", "4 %", "5 %"),
    "errors.csv": "x,y\n0,1\n#REF!,2\n2,4\n",
    "hashes.csv": "x,y\n0,1\n#N/A,2\n2,4\n",
    "holes.csv": "x,y\n" + rows(1, "", "inf", 4, "nan"),
    "all holes.csv": "x,y\n" + rows("", "", 1),
    "flat.csv": "x,y\n" + rows(7, 7, 7, 7),
    "line.csv": "x,y\n" + rows(*range(0, 16, 2)),
    "huge.csv": "x,y\n" + rows(*[1e308, 1e308, -1e308, -1e308] * 2),
    "twice.csv": "x,y\n0,1\n0,2\n1,3\n2,1\n",
    "uneven.csv": "x,y\n0,1\n1,3\n5,2\n6,5\n7,1\n20,3\n",
    "plane.csv": "a,b,y\n" + "".join(f"{i},{i * i},{i % 3}\n" for i in range(8)),
    "stations.csv": "x,y,station\n" + "".join(f"{i},{i % 3},S{i}\n" for i in range(8)),
    "table.xyz": "x,y\n0,1\n",
    "plain": "x,y\n0,1\n",
    "bytes.csv": b"x,\xff\xfe\n1,2\n",
    "damaged.npz": b"PK\x03\x04 torn",
    "damaged.nc": b"\x89HDF\r\n\x1a\n torn",
    "damaged.parquet": b"PAR1 torn",
    # networks
    "nothing.py": "x = 3\n",
    "several.py": "def one(x, y=None): ...\ndef two(x, y=None): ...\n",
    "syntax.py": "def model(x, y=None:\n",
    "nul.py": b"\0\0",
    "deep.py": "x = " + "-" * 200_000 + "1\n",
    "divides.py": NETWORK + "answer = 1 / 0\ndef model(x, y=None): ...\n",
    "imports.py": "import no_module_of_that_name\ndef model(x, y=None): ...\n",
    "quits.py": "raise SystemExit(3)\ndef model(x, y=None): ...\n",
    "odd.py": "class Odd(BaseException): ...\nraise Odd('odd')\ndef model(x, y=None): ...\n",
    "asserts.py": DATACLASS + "    depth: float = 1.0\n    def __post_init__(self):\n"
    "        assert self.depth > 1\n    def __call__(self, x, y=None): ...\n",
    "blind.py": NETWORK + "def model(x, y=None):\n"
    "    numpyro.deterministic('f', numpyro.sample('a', d.Normal()) * x[:, 0])\n",
    "number.py": "model = 3\n",
    "unnamed.txt": "def model(x, y=None): ...\n",
    # folders
    "thesis/chapter.tex": "years of work",
    "räume und ünicode/thesis é.txt": "mine",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder that holds every bad file."""
    folder = tmp_path_factory.mktemp("bad")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "folder.csv").mkdir()
    (folder / "folder.py").mkdir()
    return folder


@pytest.fixture
def folder(original, monkeypatch):
    """The folder with the bad files as working directory; whatever a test does to it is an error."""
    monkeypatch.chdir(original)
    # a bad command line that were accepted must not train for half a minute
    monkeypatch.setattr("brg_prob.pipeline.run", lambda *args, **options: pytest.fail("was accepted"))
    before = content(original)
    yield original
    assert content(original) == before


def content(folder):
    """Return every path below a folder, and the bytes of the files."""
    found = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return sorted((str(path), path.read_bytes() if path.is_file() else b"") for path in found)


@pytest.fixture
def listing():
    """Return the function that lists all that is in a folder."""
    return content


@pytest.fixture
def refused(capsys):
    """Return a function that runs a command line and checks all that holds for each that is refused.

    It returns the one line, in which the further arguments must stand.
    """

    def refused(words, *parts):
        assert main([str(word) for word in words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"brg-prob: [^\n]+\n", err), err
        assert err[:-1].isprintable()
        assert "Traceback" not in err
        assert len(err) < 800
        for part in parts:
            assert part in err
        return err

    return refused
