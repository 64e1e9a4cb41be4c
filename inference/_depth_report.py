"""What the depth script found, in words; nothing is computed from draws here."""

from __future__ import annotations

from typing import Any

from scipy import stats

from brg_prob.figures import Picture
from brg_prob.figures.style import short, with_error
from inference import _depth_pictures as phase_pictures
from inference import _depth_posterior_pictures as posterior_pictures
from inference._page import Chapter, Finding, verdict

TITLE = "Depth is a flow, and only at criticality does it carry far"
LEAD = (
    "First example of Howard, Klinger, Maiti and Stapleton, arXiv:2405.17538: the Bayesian renormalization "
    "of infinitely wide networks, here at many depths, with several activations and in the three phases of "
    "deep networks. With depth the kernel flows to a fixed point; the Fisher spectrum, the posterior and its "
    "flow in the number of observations follow the kernel."
)
LEVEL = 1e-3
"""A row that rests on draws differs if p is below this."""
NOTE = (
    "Rates are measured on kernels at a finite depth and agree if they lie within the bound given, from mean "
    "values of the correlation map, its slope and its curvature; draws are judged at p < 0.001. limit: the "
    "formula is the limit of a depth or width that this row is not near; measured: there is no formula."
)

Found = dict[str, Any]


def chapters(found: Found) -> tuple[Chapter, ...]:
    """Return every measured figure beside the formula's."""
    phases = [(each["activation"], phase) for each in found["phases"] for phase in each["phases"]]
    fields, data = found["fields"], found["data"]
    spectra = tuple(row for each in fields for row in _spectrum(each, data))
    return (
        Chapter("Phases", _MESSAGES["phases"], tuple(row for each in phases for row in _phase(*each))),
        Chapter("Fisher spectrum on the record", _MESSAGES["spectra"], spectra),
        Chapter("Posterior and flow", _posterior_message(data), tuple(_posterior(each) for each in fields)),
        Chapter(
            "Draws against the exact flow",
            _MESSAGES["draws"],
            tuple(row for each in found["draws"] for row in _draws(each)),
        ),
        Chapter(
            "Finite width", _MESSAGES["finite"], (*_widths(found["widths"]), *_cumulant(found["cumulant"]))
        ),
        *(
            [Chapter("All layers trained", _MESSAGES["lazy"], tuple(_lazy(found["lazy"])))]
            if found["lazy"]
            else []
        ),
    )


_MESSAGES = {
    "phases": "Away from criticality correlation and variance forget the input exponentially, within ξ "
    "layers; at criticality the correlation approaches 1 as 1/depth (smooth activations) or 1/depth² (ReLU "
    "and its kin), so depth has no scale.",
    "spectra": "The whitened Fisher spectrum is the Mercer spectrum of the kernel. Deep in the ordered phase "
    "one mode is left; deep in the chaotic phase the spectrum is white and every observation counts as new; "
    "critical networks lose their modes slowly.",
    "finite": "One hidden layer at finite width: single networks depart from the posterior of infinite width "
    "as N^(−1/2), their average as 1/N; what interacts is the exact four-point function, of order 1/N.",
    "lazy": "Networks of finite width trained in all layers leave the theory of the trained readout, the "
    "more the deeper they are, towards that of their tangent space (NTK), from which finite width parts them "
    "in turn: their hidden layers move. Distances are relative, of mean functions, on inputs not trained on "
    "(target sin 3x, ReLU).",
    "draws": "Draws by the library's own path, network, infinite width, posterior, diffusion, have the means "
    "and variances of the exact flow at every scale, mode by mode; the kernel of another depth is rejected.",
}


def _posterior_message(data: Found) -> str:
    gain, error = data["trivial_gain"]
    return (
        f"{data['record']}: inputs are the {data['inputs']}, the target is the {data['target']}; "
        f"{data['n']} rows train, the later {data['held_out']} are held out; σ = {data['noise']}. Scores are "
        "mean log predictive densities per held-out row, less a linear model's (of N(0, 1), which knows "
        f"nothing: {with_error(gain, error)}). Shallow networks and deep critical ones predict as well as "
        "the linear model; deep ordered ones know nothing, deep chaotic ones memorise."
    )


def _name(activation: str, phase: Found) -> str:
    weight, bias = phase["weight_variance"], phase["bias_variance"]
    return f"{activation} {phase['phase']}, σ_w² = {weight:.4g}, σ_b² = {bias:g}"


def _phase(activation: str, phase: Found) -> list[Finding]:
    """Return rates and fixed point of one phase."""
    name = _name(activation, phase)
    if phase["phase"] == "critical":
        return _critical(activation, phase)
    rows = [
        _rate(f"{distance} per layer, {name}", phase[key])
        for distance, key in (("c* − c", "correlation_decay"), ("K − K*", "variance_decay"))
    ]
    if phase["fixed_correlation"] < 1:
        last = phase["deepest_correlation"]
        holds = abs(last - phase["fixed_correlation"]) < 1e-9
        rows.append(
            Finding(f"c*, {name}", f"{last:.8f}", f"{phase['fixed_correlation']:.8f}", verdict(holds))
        )
    return rows


def _rate(quantity: str, rate: Found) -> Finding:
    """Return a factor per layer beside its formula, with the bound of their distance."""
    holds = abs(rate["measured"] - rate["formula"]) <= rate["bound"]
    digits = 6 if rate["bound"] < 1e-4 else 4
    return Finding(
        quantity,
        f"{rate['measured']:.{digits}f} ± {rate['bound']:.0e}",
        f"{rate['formula']:.{digits}f}",
        verdict(holds),
    )


def _critical(activation: str, phase: Found) -> list[Finding]:
    """Return coefficient and exponent of the algebraic approach."""
    found, name = phase["critical"], _name(activation, phase)
    power = "²" if found["power"] == 2 else "^(3/2)"
    rows = [_rate(f"loss of 1 − c per layer over (1 − c){power}, {name}", found["coefficient"])]
    if found["exponent"]:
        where = found["exponent"]["layer"]
        exponent = _rate(f"exponent of 1 − c in the depth, near layer {where}", found["exponent"])
        rows.append(exponent)
    return rows


def _spectrum(each: Found, data: Found) -> list[Finding]:
    """Return the effective dimension with depth, and how the kernel approaches its limit."""
    name, depths, n = f"{each['activation']} {each['phase']}", each["depths"], data["n"]
    dimension = [d[0] for d in each["effective_dimension"]]
    measured = short(dimension[0]) if len(depths) == 1 else f"{short(dimension[0])} → {short(dimension[-1])}"
    quantity = f"d_eff at T = n = {n}, {name}, L = {_range(depths)}"
    limit = each["limit"]
    if limit is None:
        return [Finding(quantity, measured, "no scale of depth", "measured")]
    formula, bound = limit["effective_dimension"], limit["effective_dimension_bound"]
    near = abs(dimension[-1] - formula) <= bound
    judged = "differs" if not near else "agrees" if bound < 0.05 * formula else "limit"
    rows = [Finding(quantity, measured, f"{short(formula)} at L = ∞", judged)]
    if limit["decay"] is None or limit["decay_bound"] > 0.05:
        return rows
    rate = {"measured": limit["decay"], "formula": limit["decay_formula"], "bound": limit["decay_bound"]}
    return [*rows, _rate(f"‖K − K_∞‖ per layer, {name}", rate)]


def _range(depths: list[int]) -> str:
    return f"{depths[0]} → {depths[-1]}" if len(depths) > 1 else f"{depths[0]}"


def _posterior(each: Found) -> Finding:
    """Return the score's gain over the linear model, and the critical scale, at the least and most depth."""
    pairs = zip(each["gain"], each["gain_se"], strict=True)
    gains = [with_error(value, error) for value, error in pairs]
    measured = gains[0] if len(gains) == 1 else f"{gains[0]} → {gains[-1]}"
    critical = [short(each["critical_scale"][i], 3) for i in (0, -1)]
    scales = " → ".join(critical if len(gains) > 1 else critical[:1])
    name = f"score − linear's, {each['activation']} {each['phase']}, L = {_range(each['depths'])}"
    return Finding(name, measured, f"T_c = {scales}", "measured")


def _draws(each: Found) -> list[Finding]:
    """Return the test of draws at their own depth and at a wrong one."""
    name = f"{each['draws']} draws, {each['setting']}, L = {each['depth']}"
    see = f"would see {short(100 * each['smallest_detectable'], 2)} %"
    return [
        Finding(
            f"{name}: {each['modes']} modes, {len(each['observations'])} scales",
            f"p = {short(each['p_value'], 2)}",
            see,
            verdict(each["p_value"] > LEVEL),
        ),
        Finding(
            f"the same against the kernel of L = {each['wrong_depth']}",
            f"p = {short(each['control_p_value'], 2)}",
            "rejected",
            verdict(each["control_p_value"] < LEVEL),
        ),
        Finding(
            "λ_k of the Fisher metric, by K(X, X)/(nσ²)",
            f"off by {each['fisher_error']:.0e} λ_1",
            "rounding",
            verdict(each["fisher_error"] < 1e-12),
        ),
    ]


def _widths(each: Found) -> list[Finding]:
    """Return the exponents of the departure from infinite width."""
    where = f"{each['activation']}, N = {each['widths'][0]} … {each['widths'][-1]}"
    rows = []
    for key, name, formula in (("mean_slope", "average", -1.0), ("single_slope", "single network", -0.5)):
        value, error = each[key]
        p_value = 2 * stats.norm.sf(abs(value - formula) / error)
        text = f"{with_error(value, error)}, p = {short(float(p_value), 2)}"
        rows.append(
            Finding(f"exponent in N, {name}, {where}", text, f"{formula:g}", verdict(p_value > LEVEL))
        )
    value, error = each["control_slope"]
    apart = 2 * stats.norm.sf(abs(value + 1) / error)
    control = Finding(
        "the average against a limit with a 2 % larger readout variance",
        with_error(value, error),
        "−1 rejected",
        verdict(apart < LEVEL),
    )
    return [*rows, control]


def _cumulant(each: Found) -> list[Finding]:
    """Return sampled four-point functions beside the exact ones."""
    rows = []
    for points, value, error, exact in zip(
        each["tuples"], each["measured"], each["se"], each["exact"], strict=True
    ):
        p_value = 2 * stats.norm.sf(abs(value - exact) / error)
        name = f"G4 at ({', '.join('xy'[i] for i in points)}), {each['activation']}, N = {each['width']}"
        rows.append(Finding(name, with_error(value, error), short(exact, 4), verdict(p_value > LEVEL)))
    p_value = each["control_p_value"]
    rejected = verdict(p_value < LEVEL)
    return [*rows, Finding("G4 = 0, as at infinite width", f"p = {short(p_value, 2)}", "rejected", rejected)]


def _lazy(cases: list[Found]) -> list[Finding]:
    """Return the distances of trained ensembles from both lazy theories."""
    rows = []
    for each in cases:
        where = f"L = {each['depth']}, N = {each['width']}"
        near, far = (with_error(each[key]["value"], each[key]["se"]) for key in ("tangent", "readout"))
        z = abs(each["readout"]["square"]) / each["readout"]["square_se"]
        rows += [
            Finding(f"from the readout’s theory, {where}", far, "not 0: they part", verdict(z > 3.3)),
            Finding(f"from the tangent theory, {where}", near, "0 at N = ∞", "limit"),
            Finding(
                f"change of the readout’s kernel, {where}",
                with_error(each["kernel_change"], each["kernel_change_se"]),
                "0 at N = ∞",
                "limit",
            ),
        ]
    return rows


def pictures(found: Found) -> list[Picture]:
    """Return all figures."""
    return [*phase_pictures.pictures(found), *posterior_pictures.pictures(found)]
