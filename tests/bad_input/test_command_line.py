"""Bad input, item by item: one line with the value and the remedy, exit 2, nothing written, nothing lost."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COSNET, MLP = (str(ROOT / "models" / f"{name}.py") for name in ("cosnet", "mlp"))


def case(name, *words, said):
    return pytest.param(words, said, id=name)


# --- tables

TABLES = [
    case("missing file", "9999", said=("'9999'", "no such file", "give the path")),
    case("nearly named", "god.csv", said=("'god.csv'", "did you mean 'good.csv'?")),
    case("a folder", "folder.csv", said=("'folder.csv'", "no such file")),
    case("name too long", "x" * 300 + ".csv", said=("xxx.csv'", "File name too long", "check path")),
    case("unknown format", "table.xyz", said=("'.xyz'", "unknown format", ".csv")),
    case("no format", "plain", said=("''", "unknown format", ".csv")),
    case("empty file", "empty.csv", said=("'empty.csv'", "empty", "at least two rows")),
    case("comments only", "comments.csv", said=("'comments.csv'", "empty", "at least two rows")),
    case("header only", "header.csv", said=("'header.csv'", "no rows", "at least two")),
    case("no header", "headless.csv", said=("'1,2'", "add a line of column names")),
    case("not text", "bytes.csv", said=("'bytes.csv'", "byte 2", "save it as UTF-8")),
    case("torn npz", "damaged.npz", said=("'damaged.npz'", "numpy.savez")),
    case("torn netcdf", "damaged.nc", said=("'damaged.nc'", "xarray")),
    case("torn parquet", "damaged.parquet", said=("'damaged.parquet'", "pandas")),
    case("missing column", "good.csv", "--target", "yy", said=("'yy'", "did you mean 'y'?")),
    case("missing input", "good.csv", "--inputs", "time", said=("'time'", "it has 'x', 'y'")),
    case("both", "good.csv", "--inputs", "x", "--target", "x", said=("'x'", "choose one")),
    case("input twice", "good.csv", "--inputs", "x,x", "--target", "y", said=("'x'", "name it once")),
    case("not a number", "words.csv", said=("'y'", "'calm'", "convert it")),
    case("a date of two readings", "dates.csv", said=("'when'", "'01/02/2020'", "MM/DD/YYYY", "YYYY-MM-DD")),
    case("a word among dates", "hidden dates.csv", said=("'when'", "'late'", "in one way")),
    case("commas of two readings", "commas.csv", said=("'y'", "'1,120'", "1120 or 1.12", "decimal point")),
    case("a currency", "prices.csv", said=("'y'", "'$3'", "[unit]")),
    case("a percent sign", "percent.csv", said=("'y'", "'3 %'", "[unit]")),
    case("a spreadsheet's error", "errors.csv", said=("'x'", "'#REF!'", "convert it")),
    case("a spreadsheet's gap", "hashes.csv", said=("1 of 3 rows", "'x'", "--drop-missing")),
    case("words beside", "stations.csv", "--target", "y", said=("'station'", "--inputs and --target")),
    case("NaN and infinite rows", "holes.csv", said=("3 of 5 rows", "'y'", "--drop-missing")),
    case("one row", "one.csv", said=("'one.csv'", "1 usable row:", "at least two")),
    case("one row left", "all holes.csv", "--drop-missing", said=("1 usable row:", "at least two")),
    case("one row to train on", "two.csv", said=("1 training row", "--held-out none")),
    case("constant target", "flat.csv", said=("constant", "nothing to learn")),
    case("only a line", "line.csv", "--detrend", "line",
         said=("constant once its line is removed", "--detrend none")),
    case("no such line", "good.csv", "--detrend", "lin", said=("--detrend", "'lin'", "did you mean 'line'?")),
    case("a line in two inputs", "plane.csv", "--model.width", "9", "--detrend", "line",
         said=("2 inputs", "--detrend none")),
    case("overflow", "huge.csv", said=("1e+308", "another unit")),
    case("repeated inputs on a lattice", "twice.csv", "--held-out", "none",
         said=("repeats 1 row of", "average", "width=1000")),
    case("no grid for a lattice", "uneven.csv", said=("no equispaced", "width=1000")),
    case("two columns for one dimension", "plane.csv", "--model.width", "9", "--model.dim", "1",
         said=("(4, 2)", "shape (n, 1)")),
    case("one column for three dimensions", "good.csv", "--model.dim", "3", said=("(4, 1)", "shape (n, 3)")),
    case("two targets for one output", "plane.csv", "--inputs", "a", "--target", "b,y",
         said=("1 output(s)", "2 target(s)", "--target", "set --model.outputs 2")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), TABLES)
def test_tables(folder, refused, words, said):
    refused(["run", COSNET, "--out", "new", "--data", *words], *said)


def test_a_target_without_a_table(folder, refused):
    refused(["run", COSNET, "--target", "y"], "--target 'y'", "add --data")


# --- numbers, options, names

BAD_NUMBERS = {"0": "0", "-1": "-1", "nan": "nan", "inf": "inf"}
NUMBERS = [
    *(
        case(f"{name} {value}", COSNET, f"--model.{name}", value,
             said=(f"{name} = {float(value)}", "positive and finite"))
        for name in ("mass", "cutoff", "noise", "box", "amplitude")
        for value in BAD_NUMBERS
    ),
    *(
        case(f"width {value}", COSNET, "--model.width", value, said=(f"width = {value}", "at least 1"))
        for value in ("0", "-1")
    ),
    *(
        case(f"width {value}", COSNET, "--model.width", value, said=(f".width '{value}'", "whole number"))
        for value in ("nan", "inf", "2.5", "ten", "")
    ),
    case("mass ten", COSNET, "--model.mass", "ten", said=("--model.mass 'ten'", "for example 1.0")),
    case("width and box", COSNET, "--model.width", "9", "--model.box", "10",
         said=("width = 9 and box = 10.0", "exactly one")),
    case("more modes than memory", COSNET, "--model.cutoff", "1e300", said=("cutoff = 1e+300", "lower one")),
    case("widths", MLP, "--model.widths", "8,x", said=("'8,x'", "whole numbers", "commas")),
    case("a width of 0", MLP, "--model.widths", "8,0", said=("(8, 0)", "at least 1")),
    case("activation", MLP, "--model.activation", "rleu", said=("'rleu'", "did you mean 'relu'?")),
    case("one of two activations", MLP, "--model.widths", "8,8", "--model.activation", "relu,errf",
         said=("'errf'", "did you mean 'erf'?")),
    case("activations and widths", MLP, "--model.widths", "8,8", "--model.activation", "relu,erf,relu",
         said=("names 3 for 2 hidden", "one per width")),
    case("variances and widths", MLP, "--model.weight_variance", "2,1,1", said=("has 3 for 1", "give one")),
    case("a negative variance", MLP, "--model.bias_variance", "0,-1", said=("(0.0, -1.0)", "not negative")),
    case("a variance of text", MLP, "--model.weight_variance", "2,x", said=("'2,x'", "numbers")),
    case("hidden seed", MLP, "--model.hidden_seed", "-1", said=("hidden_seed = -1", "from 0 to")),
    case("fan in", MLP, "--model.fan_in", "perhaps", said=("'perhaps'", "true or false")),
    case("skip", MLP, "--model.widths", "8,4", "--model.skip", "true", said=("(8, 4)", "make them equal")),
    case("spectrum unknown", COSNET, "--model.spectrum", "Mattern", said=("'Mattern'", "import or define")),
    case("spectrum no name", COSNET, "--model.spectrum", "a.b", said=("'a.b'", "NAME")),
    case("spectrum too deep", COSNET, "--model.spectrum", "-" * 100_000 + "1", said=("'---", "NAME")),
    case("smoothness", COSNET, "--model.spectrum", "Matern(-1)", said=("smoothness = -1", "positive")),
    *(case(f"{flag} {value}", COSNET, f"--{flag}", value, said=(f"'{value}'", remedy))
      for flag, value, remedy in [
        ("observations", "0", "T > 0"), ("observations", "-3", "T > 0"), ("observations", "nan", "T > 0"),
        ("observations", "many", "T > 0"),
        ("tolerance", "0", "between 0 and 1"), ("tolerance", "1", "between 0 and 1"),
        ("draws", "1", "from 2 on"), ("draws", "4k", "whole number"), ("scales", "0", "from 1 on"),
        ("points", "1", "from 2 on"), ("held-out-fraction", "1", "between 0 and 1"),
        ("held-out-seed", "-1", "from 0 to"),
        # a bad seed
        ("seed", "-1", "from 0 to"), ("seed", "4294967296", "from 0 to"), ("seed", "1.5", "whole number"),
        ("seed", "nan", "whole number"), ("seed", "lucky", "whole number"), ("seed", "", "whole number"),
      ]),
    case("endless seed", COSNET, "--seed", "9" * 9000, said=("'999", "whole number")),
    case("no seed", COSNET, "--seed", said=("--seed", "--help")),
    # unknown options, engines, schemes
    case("option", COSNET, "--scael", "3", said=("'--scael'", "did you mean '--scales'?")),
    case("option of the network", COSNET, "--model.mas", "2", said=("--model.mas", "did you mean 'mass'?")),
    case("option of nothing", COSNET, "--modl.mass", "2", said=("--modl.mass", "did you mean 'model'?")),
    case("option of the engine", COSNET, "--engine.member", "2", said=("--engine.member", "'members'?")),
    case("option of the scheme", COSNET, "--scheme.basis", "eigen", said=("--scheme.basis", "no options")),
    case("value of an option", COSNET, "--scheme", "shell", "--scheme.basis", "raw",
         said=("'raw'", "eigen or parameter")),
    case("no value", COSNET, "--model.mass", said=("--model.mass", "needs a value")),
    case("engine", COSNET, "--engine", "exat", said=("'exat'", "did you mean 'exact'?")),
    case("scheme", COSNET, "--scheme", "difusion", said=("'difusion'", "did you mean 'diffusion'?")),
    case("members", COSNET, "--points", "4", "--engine.members", "0", said=("members = 0", "at least 1")),
    *(case(f"{engine} {flag} {value}", COSNET, "--points", "4", "--engine", engine, f"--engine.{flag}", value,
           said=(text, remedy))
      for engine, flag, value, text, remedy in [
        ("gradient_flow", "time", "-1", "time = -1.0", "t >= 0"),
        ("gradient_flow", "time", "nan", "time = nan", "t >= 0"),
        ("gradient_flow", "time", "long", "'long'", "a number"),
        ("gradient_flow", "members", "0", "members = 0", "at least 1"),
        ("gradient_flow", "epochs", "3", "'--engine.epochs' is unknown", "time, members"),
        ("sgd_exact", "learning_rate", "0", "learning_rate = 0.0", "positive and finite"),
        ("sgd_exact", "learning_rate", "nan", "learning_rate = nan", "positive and finite"),
        ("sgd_exact", "learning_rate", "-0.1", "learning_rate = -0.1", "positive and finite"),
        ("sgd_exact", "epochs", "0", "epochs = 0", "between 1 and"),
        ("sgd_exact", "epochs", "2.5", "'2.5'", "whole number"),
        ("sgd_exact", "members", "-2", "members = -2", "at least 1"),
      ]),
    *(case(f"ensemble, {name} {value}", MLP, "--engine", "ensemble", f"--engine.{name}", value, said=said)
      for name, value, said in [
        ("learning_rate", "0", ("learning_rate = 0.0", "positive and finite")),
        ("learning_rate", "nan", ("learning_rate = nan", "positive and finite")),
        ("learning_rate", "fast", ("--engine.learning_rate 'fast'", "not a number")),
        ("epochs", "0", ("epochs = 0", "at least 1")), ("epochs", "1.5", ("'1.5'", "whole number")),
        ("members", "0", ("members = 0", "at least 1")),
        ("batch_size", "-1", ("batch_size = -1", "at least 1")),
        ("optimiser", "adma", ("'adma'", "did you mean 'adam'?")), ("layers", "hidden", ("'hidden'", "all")),
        ("shuffle", "maybe", ("'maybe'", "true or false")),
      ]),
    case("held out", COSNET, "--held-out", "alternat", said=("'alternat'", "did you mean 'alternate'?")),
    case("one word too many", COSNET, "more", said=("'more'", "too many")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), NUMBERS)
def test_options(folder, refused, words, said):
    refused(["run", *words], *said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        case("command", "rum", said=("'rum'", "did you mean 'run'?")),
        case("flag without a command", "--quiet", said=("--quiet", "--help")),
        case("run nothing", "run", said=("MODEL.py is missing", "models/cosnet.py")),
        case("report nothing", "report", said=("RUN", "--help")),
        case("report two", "report", "a", "b", said=("b", "--help")),
        case("compare nothing", "compare", said=("RUN", "--help")),
        case("new nothing", "new", said=("NETWORK", "--help")),
        case("new unknown", "new", "cosnt", said=("'cosnt'", "did you mean 'cosnet'?")),
        case("new over a file", "new", "cosnet", "several.py", said=("'several.py'", "choose another path")),
        case("new elsewhere", "new", "cosnet", "no/where.py", said=("'no'", "create it")),
        case("not UTF-8", "run", "\udcff.py", said=(r"'\udcff.py'", "rename")),
    ],
)
def test_commands(folder, refused, words, said):
    refused(words, *said)


# --- the network's file

MODELS = [
    case("missing", "9999", said=("'9999'", "no such file", "give the path")),
    case("a folder", "folder.py", said=("'folder.py'", "no such file", "did you mean")),
    case("no such name", f"{COSNET}:CosNt", said=("'CosNt'", "did you mean 'CosNet'?")),
    case("without a model", "nothing.py", said=("'nothing.py'", "define a function model(x, y=None)")),
    case("several models", "several.py", said=("one, two", "choose one as several.py:one")),
    case("no Python", "syntax.py", said=("'syntax.py' line 1", "not Python")),
    case("bytes", "nul.py", said=("'nul.py'", "null bytes", "correct it")),
    case("nested", "deep.py", said=("'deep.py'", "too complex", "correct it")),
    case("no Python file", "unnamed.txt", said=("unnamed.txt'", "ends in .py")),
    case("fails on import", "divides.py", said=("divides.py'", "in line 2", "ZeroDivisionError")),
    case("imports what is not there", "imports.py", said=("in line 1", "'no_module_of_that_name'")),
    case("quits on import", "quits.py", said=("in line 1", "SystemExit: 3")),
    case("no plain exception", "odd.py", said=("in line 2", "Odd: odd")),
    case("refuses its options", "asserts.py", "--model.depth", "0.5",
         said=("Net", "in line 6", "AssertionError")),
    case("observes nothing", "blind.py", said=("'model'", "observes nothing", "obs=y")),
    case("no network", "number.py", said=("'model'", "no network but a int", "give a callable")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), MODELS)
def test_models(folder, refused, words, said):
    refused(["run", *words], *said)


# --- output folders

OUTPUTS = [
    case("not a run folder", "thesis", said=("'thesis'", "not a run folder", "choose another --out")),
    case("with blanks", "räume und ünicode", said=("'räume und ünicode'", "choose another --out")),
    case("a file", "good.csv", said=("'good.csv'", "is a file", "choose another --out")),
    case("below a file", "good.csv/run", said=("good.csv'", "cannot write in", "choose another --out")),
    case("below a device", "/dev/null/run", said=("'/dev/null'", "cannot write in", "choose another --out")),
    case("a name too long", "x" * 300, said=("xxx'", "File name too long", "check path")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), OUTPUTS)
def test_output_folders(folder, refused, words, said):
    refused(["run", COSNET, "--out", *words], *said)


def test_a_file_system_that_takes_no_folders(folder, refused):
    """Where the rights look well, the lock that is taken before training finds out."""
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    said = ("'/proc/new'", "choose another --out")
    refused(["run", COSNET, "--points", "4", "--out", "/proc/new"], *said)


def test_a_folder_without_rights(folder, refused, monkeypatch):
    monkeypatch.setattr("os.access", lambda *args, **options: False)  # root has them everywhere
    refused(["run", COSNET, "--out", "new/run"], "cannot write in", "permissions")


def test_a_file_without_rights(folder, refused, monkeypatch):
    def denied(path, *args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", denied)
        refused(["run", "secret.py"], "'secret.py'", "Permission denied", "permissions")


@pytest.mark.parametrize("name", ["ein Netz é.py", "网络 σ².py", "a'b\"c;$(d).py", "-dash.py"])
def test_unicode_blanks_and_signs_in_paths(name, tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("def model(x, y=None): return 1 / 0\n", encoding="utf-8")
    path = Path(name).absolute() if name.startswith("-") else name
    refused(["run", path], "c;$(d)" if "'" in name else name, "line 1")


def test_hostile_text_reaches_no_terminal(tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("red.py").write_text(
        "raise ValueError('a\\x1b[31mb\\x07\\u202ec\\nd' * 99)\ndef model(x, y=None): ...\n"
    )
    line = refused(["run", "red.py"], r"a\x1b[31mb\x07\u202ec d")
    assert "\x1b" not in line
    Path("\x1b[31m.csv").write_text("x,y\n1,2\n")
    refused(["run", COSNET, "--data", "\x1b[31m.csv"], r"'\x1b[31m.csv'", "at least two")
