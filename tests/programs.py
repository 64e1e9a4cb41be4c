"""A pytest plugin, ``-p tests.programs``: how many programs the tests of each room compile, in what time.

Nearly all time of the tests is compilation. A program found in the cache was compiled by another test.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

import jax
import pytest

COMPILED, HIT = "/jax/core/compile/backend_compile_duration", "/jax/compilation_cache/cache_hits"
_ROOMS, _ROOM = defaultdict(Counter), []


def _timed(event, seconds, **_):
    if event == COMPILED and _ROOM:
        _ROOMS[_ROOM[0]].update(programs=1, compile_seconds=seconds)


def _counted(event, **_):
    if event == HIT and _ROOM:
        _ROOMS[_ROOM[0]].update(found=1)


jax.monitoring.register_event_duration_secs_listener(_timed)
jax.monitoring.register_event_listener(_counted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Count for the room of the test."""
    path = item.path.relative_to(item.config.rootpath)
    _ROOM[:] = [path.parts[1] if len(path.parts) > 2 else path.stem.removeprefix("test_")]
    return (yield)


def pytest_runtest_logreport(report):
    """Add the time of a phase, where this process ran it."""
    if _ROOM:
        _ROOMS[_ROOM[0]].update(seconds=report.duration, tests=int(report.when == "call"))


def pytest_sessionfinish(session):
    """Hand what a worker counted to the process that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["programs"] = json.dumps(_ROOMS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Add what a worker counted."""
    for room, counted in json.loads(getattr(node, "workeroutput", {}).get("programs", "{}")).items():
        _ROOMS[room].update(counted)


def pytest_terminal_summary(terminalreporter):
    """Print a row for each room, the dearest first."""
    terminalreporter.section("compiled programs by room")
    terminalreporter.write_line(f"{'room':<24}{'tests':>7}{'seconds':>10}{'programs':>10}{'compiling':>11}")
    total = Counter()
    rows = sorted(_ROOMS.items(), key=lambda item: -item[1]["seconds"])
    for _, counted in rows:
        total.update(counted)
    for room, counted in [*rows, ("all", total)]:
        compiled = counted["programs"] - counted["found"]
        terminalreporter.write_line(
            f"{Path(room).name:<24}{counted['tests']:>7}{counted['seconds']:>10.1f}{compiled:>10}"
            f"{counted['compile_seconds']:>11.1f}"
        )
