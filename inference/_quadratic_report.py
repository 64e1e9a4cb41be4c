"""What the published experiment shows, in words; nothing is computed from weights here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from inference._page import Chapter, Finding, number, verdict
from inference._quadratic_ensemble import Ensemble
from inference._quadratic_statistics import Found

TITLE = "The published experiment: where resetting sloppy weights begins to cost"
LEAD = (
    "Numerical experiment of Howard, Klinger, Maiti and Stapleton, arXiv:2405.17538: an ensemble of ReLU "
    "networks learns "
    "a quadratic function, and readout weights whose Fisher information is below a cutoff are reset to "
    "their prior."
)
NOTE = (
    "Means are over members whose training loss fell, medians over all; errors are one standard error over "
    "members. "
    "The data are the same for all members; hidden layers, initial readout and Fisher inputs are each "
    "member's own."
)
_METHODS = {
    "sgd_exact": "batch-1 SGD in fixed order, every step exactly, by powers of its affine map",
    "gradient_flow": "gradient flow for the time t = 2ηE, not the published SGD",
    "stepped_sgd": "batch-1 SGD in fixed order, step by step",
}
_LEVEL = 1e-3


@dataclass(frozen=True)
class Cost:
    """What the run took: seconds by the clock and of all cores, peak memory in GB, the numpy loop if run."""

    seconds: float
    processor: float
    memory: float
    loop: dict[str, float] | None = None


def chapters(ensemble: Ensemble, found: Found, cost: Cost) -> tuple[Chapter, ...]:
    """Return every measured figure beside the paper's, or what T11 says of it."""
    return (
        Chapter("Training", _training_message(ensemble, found), _training(ensemble, found)),
        Chapter("The Fisher matrix from a few inputs", _FISHER_MESSAGE, _fisher(found)),
        Chapter("Resetting weights below a cutoff", _SHELL_MESSAGE, _shells(found)),
        Chapter("The critical cutoff", _CRITICAL_MESSAGE, _critical(found)),
        Chapter("What it costs", _COST_MESSAGE, _cost(found, cost)),
    )


_FISHER_MESSAGE = (
    "A ReLU that is silent on all Fisher inputs looks perfectly sloppy, whatever it does elsewhere; with "
    "ten inputs "
    "hundreds of neurons are misjudged so."
)
_SHELL_MESSAGE = (
    "With ten Fisher inputs the loss jumps at the lowest cutoff, because all misjudged neurons are reset "
    "there at once. "
    "The expectation over the reset weights needs no redraw: mean_x[(y − Σ_kept w ϕ)² + Σ_sloppy ϕ²]."
)
_CRITICAL_MESSAGE = (
    "With more inputs the jump goes and a critical cutoff appears. T8's rule, which pairs test inputs, "
    "already resolves "
    "rises below a per cent, so it lies far below the cutoff at which a curve visibly rises, and it moves "
    "with the data."
)
_COST_MESSAGE = "Exact SGD without steps makes an ensemble cheaper than one member of the published code."


def _training_message(ensemble: Ensemble, found: Found) -> str:
    """Return what training taught."""
    each = found["counterparts"]
    return (
        f"Run: {_METHODS[ensemble.method]}. The published step is large: for "
        f"{_percent(each['overshooting_share'])} of the members some single step overshoots its own sample, "
        f"{found['diverged']} of {found['members']} members diverge altogether, and gradient flow with the "
        "same "
        "ηE ends elsewhere."
    )


def _percent(value: float) -> str:
    """Return a fraction as a percentage."""
    return f"{number(100 * value, 2)} %"


def _pm(each: Found, digits: int = 3) -> str:
    """Return a mean with its error."""
    return f"{number(each['mean'], digits)} ± {number(each['se'], 2)}"


def _range(values: Sequence[float]) -> str:
    """Return the 5 and 95 % points around a median."""
    return f"{number(values[1])} ({number(values[0], 2)}–{number(values[2])})"


def _training(ensemble: Ensemble, found: Found) -> tuple[Finding, ...]:
    """Return losses and the size of the steps."""
    each, trained = found["counterparts"], found["trained"]
    return (
        Finding(f"test loss, {ensemble.method}, median", number(trained["median"]), "–", "measured"),
        Finding("its mean, diverged members left out", _pm(trained), "–", "measured"),
        Finding("test loss before training, mean", _pm(found["untrained"]), "–", "measured"),
        Finding(
            "2η‖K‖, median (5–95 %)",
            _range(each["norm"]),
            "18–149",
            verdict(each["norm"][0] < 149 and each["norm"][2] > 18),
        ),
        Finding("2η max|ϕ(x)|², median (5–95 %)", _range(each["largest"]), "< 2: no overshoot", "measured"),
        Finding(
            "members that diverge",
            f"{found['diverged']} of {found['members']}",
            "not mentioned",
            verdict(found["diverged"] == 0),
        ),
        Finding(
            f"|loss of gradient flow / SGD − 1|, largest of {each['stable_members']} stable members",
            _percent(each["largest_difference"]),
            "up to 35 %",
            verdict(0.05 < each["largest_difference"] < 0.4),
        ),
    )


def _fisher(found: Found) -> tuple[Finding, ...]:
    """Return zero entries and Monte-Carlo errors."""
    rows = []
    for rule in found["rules"]:
        few, exact = rule["fisher_inputs"] == "10", rule["fisher_inputs"] == "exact"
        name = "exact expectation" if exact else f"{rule['fisher_inputs']} inputs"
        said = "hundreds" if few else "–"
        share = rule["zero_active_share"]
        judged = verdict(rule["zero"]["mean"] > 0.05 * found["parameters"]) if few else "measured"
        rows.append(Finding(f"entries that are zero, {name}", _pm(rule["zero"], 4), said, judged))
        if few:
            between = f"{_percent(share['low'])}–{_percent(share['high'])}"
            overlap = share["low"] < 0.8 and share["high"] > 1 / 3
            said = "1/3 to 4/5"
            rows.append(Finding("of these active elsewhere, 5–95 %", between, said, verdict(overlap)))
        if not exact:
            error = _percent(rule["fisher_error"]["mean"])
            rows.append(Finding("relative error of the others, median", error, "–", "measured"))
    return tuple(rows)


def _shells(found: Found) -> tuple[Finding, ...]:
    """Return what cutoffs do to the loss."""
    restored, main = found["restored"], found["rules"][found["main"]]
    few, tests = found["rules"][0], len(found["cutoffs"]) - 1
    limit = float(stats.norm.isf(_LEVEL / 2 / tests))
    jump = few["median"][1] / few["median"][0]
    exact = found["rules"][-1]
    ratio = restored["untrained_over_last"]
    same = abs(ratio["mean"] - 1) < float(stats.norm.isf(_LEVEL / 2)) * ratio["se"]
    z = found["redraw"]["largest_z"]
    return (
        Finding(
            "loss at cutoff 0 against trained",
            "same bits" if restored["unchanged_at_zero"] else "differs",
            "unchanged",
            verdict(restored["unchanged_at_zero"]),
        ),
        Finding(
            "at the largest, against fresh weights",
            f"off by {restored['relative']:.0e}",
            "expectation",
            verdict(restored["relative"] < 1e-9),
        ),
        Finding("untrained loss over that", _pm(ratio), "1", verdict(same)),
        Finding(
            f"one redraw against expectation, {main['fisher_inputs']} inputs",
            f"{number(z, 2)} s.e. at worst",
            f"< {number(limit, 2)} s.e.",
            verdict(z < limit),
        ),
        Finding(
            f"median loss at Λ_I = 1e-4 over trained, {few['fisher_inputs']} inputs",
            number(jump),
            "jumps",
            verdict(jump > 2),
        ),
        Finding(
            "the same, exact expectation", number(exact["median"][1] / exact["median"][0], 4), "–", "measured"
        ),
    )


def _critical(found: Found) -> tuple[Finding, ...]:
    """Return critical cutoffs by number of Fisher inputs."""
    rows = []
    for rule in found["rules"]:
        label = rule["fisher_inputs"]
        name = "exact expectation" if label == "exact" else f"{label} inputs"
        value, risen, half = (rule[key]["value"] for key in ("critical", "risen", "half_up"))
        none, published = label == "10", label == "200"
        said = "none" if none else "near 0.05" if published else "–"
        judged = verdict(value is None) if none else "measured"
        if published:
            judged = verdict(value is not None and 0.01 < value < 0.1)
        rows.append(Finding(f"one-standard-error rule, {name}", _cutoff(rule["critical"]), said, judged))
        sampled = _number(rule["critical_sampled"])
        rows.append(Finding("the same, one redraw per member", sampled, "–", "measured"))
        if published:
            inside = risen is not None and half is not None and risen < 0.05 < half
            judged = verdict(inside)
        between = f"{_number(risen)} and {_number(half)}"
        rows.append(Finding("median loss 10 and 50 % up at", between, said, judged))
    for each in found["eigen"]:
        name = f"eigenmodes, one-s.e. rule, {each['fisher_inputs']} inputs"
        rows.append(Finding(name, _cutoff(each["critical"]), "–", "measured"))
    return tuple(rows)


def _number(value: float | None) -> str:
    """Return a cutoff, or that there is none."""
    return "none" if value is None else number(value, 2)


def _cutoff(each: Found) -> str:
    """Return a critical cutoff with the spread of its resamples."""
    if each["low"] == each["high"] == each["value"]:
        return _number(each["value"])
    return f"{_number(each['value'])} ({_number(each['low'])}–{_number(each['high'])})"


def _cost(found: Found, cost: Cost) -> tuple[Finding, ...]:
    """Return times, those of the published code quoted."""
    loop, full = cost.loop, found["members"] >= 1000
    rows = [
        Finding(
            f"{found['members']} members, all computation",
            f"{number(cost.seconds)} s",
            "≤ 60 s for 1000",
            verdict(cost.seconds <= 60) if full else "measured",
        ),
        Finding("processor time of it, all cores", f"{number(cost.processor)} s", "–", "measured"),
        Finding("peak memory", f"{number(cost.memory, 2)} GB", "≤ 2 GB", verdict(cost.memory <= 2)),
        Finding("authors' code, one member", "not run", "130 s and 4 GB", "quoted"),
    ]
    if loop is None:
        rows.append(Finding("numpy loop, one member", "use --compare-loop", "0.6 s", "quoted"))
        return tuple(rows)
    rows += [
        Finding("numpy loop, one member", f"{number(loop['loop_seconds'], 2)} s", "0.6 s", "measured"),
        Finding(
            "sgd_exact, the same training", f"{number(loop['exact_seconds'], 2)} s", "0.04 s", "measured"
        ),
        Finding(
            f"their weights after {loop['steps']:.0f} steps",
            f"differ by {loop['largest_difference']:.0e}",
            "< 1e-8",
            verdict(loop["largest_difference"] < 1e-8),
        ),
    ]
    return tuple(rows)
