"""kill −9 at fifty random moments: the old run or the new one, and the next run finishes.

What the user put into the folder is there whichever it is.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

from brg_prob import store

ROOT = Path(__file__).parents[2]
KILLS = 50
WORDS = ["--points", "31", "--scales", "2", "--draws", "100"]
WORDS += ["--model.cutoff", "8", "--scheme", "shell", "--quiet"]
# With the real computation the fifty take minutes: set this to run them, too.
KINDS = ["stand-in", *(["real"] if "BRG_PROB_REAL_KILLS" in os.environ else [])]
FILES = ["draws.nc", "model.json", "notes.txt", "plots", "report.html", "summary.json"]
NOTES = ["notes.txt", "plots/notes.txt"]

# One process imports everything and makes a copy of itself for every run, so that the moments fall
# into the run and not into the imports. The report is not rendered: its text stands for it.
SERVER = """
import os, sys
import brg_prob.cli.loading as loading, brg_prob.cli.loading.problem as problem
import brg_prob.cli.terminal.run, brg_prob.pipeline.run_result as result
import brg_prob.flow, brg_prob.correspondence, brg_prob.posterior, brg_prob.observables
from brg_prob.cli import main
result.render_report = lambda run: f"the report of seed {run.summary['seed']}"
if sys.argv[1] == "stand-in":
    exec(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(main(line.split()))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

# Three stages of numpy in place of jax's, which takes seconds to trace; all that writes is the real one.
STAND_IN = """
import json, time
import numpy as np, xarray as xr
from brg_prob.pipeline.stage_runner import StageRunner

def computed(request, problem, source, key, stages, progress):
    seed = request.arguments.seed
    runner = StageRunner(progress, stages, source.digest, seed)

    def stage(name):
        time.sleep(0.02)
        draws = np.random.default_rng(seed).standard_normal((1, 500, 31))
        made = xr.DataTree.from_dict({name: xr.Dataset({"f": (("chain", "draw", "x"), draws)})})
        made.attrs.update(n=31, noise=0.5)
        return made

    tree = xr.DataTree()
    for name in ("posterior", "shell", "record"):
        tree[name] = runner(name, lambda name=name: stage(name), name)[name]
    tree.attrs.update(
        seed=seed, model_name="CosNet", model_options="{}", versions="{}", key="[]", engine="exact"
    )
    summary = {"seed": seed, "verdict": "consistent", "mark": float(tree["record"]["f"].values[0, 0, 0])}
    return result.Run(tree, summary, result.described_model(tree, source, runner.described))

loading._computed = computed
problem.problem_of = lambda *args: problem.Problem(None, np.zeros((2, 1)), None, None, None)
problem.observation_of = lambda *args: "y"
problem.engine_of = lambda *args: "exact"
problem.fingerprint = lambda *args: {}
"""


class Server:
    """Starts runs and says how they ended."""

    def __init__(self, folder, kind):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER, kind, STAND_IN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout.readline() == "ready\n"

    def run(self, seed, kill_after=None):
        """Return exit status and seconds of a run that is killed after some seconds."""
        begin = time.perf_counter()
        words = ["run", "models/cosnet.py", *WORDS, "--seed", str(seed), "--out", str(self.folder)]
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it was over before
                os.kill(child, signal.SIGKILL)
        status = int(self.process.stdout.readline())
        return status, time.perf_counter() - begin


@pytest.fixture
def server(tmp_path, request):
    made = Server(tmp_path / "run", getattr(request, "param", "real"))
    yield made
    made.process.communicate()


def seed_in(folder):
    """Return the seed that all four files of a run folder agree on."""
    stored = store.read_run(folder)
    seed = stored.summary["seed"]
    assert stored.model["seed"] == stored.tree.attrs["seed"] == seed
    assert (folder / "report.html").read_text() == f"the report of seed {seed}"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [(folder / name).read_text() for name in NOTES] == ["mine", "mine"]
    return seed


@pytest.mark.slow
@pytest.mark.parametrize("server", KINDS, indirect=True)
def test_killed_at_fifty_random_moments_the_folder_is_the_old_run_or_the_new_one(server):
    folder, moment = server.folder, random.Random(20261122)
    assert server.run(seed=0)[0] == 0
    (folder / "plots").mkdir()
    for name in NOTES:
        (folder / name).write_text("mine")
    _, length = server.run(seed=1)
    old, new, killed, left = 1, 2, 0, length
    while killed < KILLS:
        status, _ = server.run(seed=new, kill_after=moment.uniform(0, 1.05 * left))
        assert status in (0, -signal.SIGKILL)
        killed += status == -signal.SIGKILL  # a run that was over before its moment is no kill
        found = seed_in(folder)
        assert found in (old, new) if status else found == new
        if found == new:
            old, new, left = new, new + 1, length
        else:  # the next attempt goes on from the stages that are finished, and has less to do
            left = length * (1 - 0.3 * len(list(folder.parent.glob(".run.stages/*.nc"))))
    assert server.run(seed=999)[0] == 0
    assert seed_in(folder) == 999
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_finished_stage_to_the_same_numbers(server):
    aside = server.folder.parent / ".run.stages"
    process = server.process
    words = ["run", "models/cosnet.py", "--out", str(server.folder), *WORDS]
    process.stdin.write(" ".join(words) + "\n")
    process.stdin.flush()
    child = int(process.stdout.readline())
    while not list(aside.glob("shell.*.nc")):
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    assert int(process.stdout.readline()) == -signal.SIGKILL
    assert not server.folder.exists()
    seconds = {
        path.name.split(".")[0]: json.loads(stage_attributes(path)["stage_seconds"])
        for path in aside.glob("*.nc")
    }
    assert {"posterior", "shell"} <= set(seconds)
    assert server.run(seed=0)[0] == 0
    resumed = store.read_run(server.folder)
    # the seconds of a stage are stored with it: these were not computed again
    assert {name: resumed.summary["seconds"][name] for name in seconds} == seconds
    server.folder = server.folder.with_name("other")
    assert server.run(seed=0)[0] == 0
    fresh = store.read_run(server.folder)
    assert fresh.summary["seconds"] != resumed.summary["seconds"]
    assert {**fresh.summary, "seconds": None} == {**resumed.summary, "seconds": None}
    for group in ("posterior", "flow", "record", "field_theory"):
        xr.testing.assert_identical(fresh.tree[group].to_dataset(), resumed.tree[group].to_dataset())


def stage_attributes(path):
    with xr.open_datatree(path, engine="h5netcdf") as stage:
        return dict(stage.attrs)
