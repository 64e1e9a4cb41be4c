"""A run's tree in closed form (T9), so that summary, figures and report are tested without running anything.

A free scalar on the lattice: box 10, cutoff 20, mass 1, σ = 0.5, n = 400 equispaced points. Variances
of draws are simulated from their χ² law, estimates from their errors: the random ingredients of the tree.
The record's own unit is six of the network's (SCALE); the origin of its inputs is the year 1950.
"""

import json

import numpy as np
import xarray as xr
from scipy import stats

BOX, CUTOFF, MASS, NOISE, N, DRAWS = 10.0, 20.0, 1.0, 0.5, 400, 4000
SCALE, ORIGIN = 6.0, 1950.0
STATES = ["prior", "posterior"]
HOSTILE = "<script>alert('x')</script>"


def momenta() -> np.ndarray:
    """|p| of every real mode: 0 once, the others twice (cosine and sine)."""
    index = np.arange(1, int(CUTOFF * BOX / (2 * np.pi)) + 1)
    return np.concatenate([[0.0], np.repeat(2 * np.pi * index / BOX, 2)])


def density(p):
    return 1 / (p**2 + MASS**2)


def flow_branch(scheme: str, rng, scales: int = 12) -> dict[str, xr.Dataset]:
    """Groups flow, theory and checks of one flow."""
    observations = np.geomspace(N, 1, scales)
    p = momenta()
    eigenvalue = density(p) / (BOX * NOISE**2)
    data_mass = observations / (BOX * NOISE**2)
    weight = observations[:, None] * eigenvalue
    if scheme == "Diffusion":
        predicted = 1 / (p**2 + MASS**2 + data_mass[:, None])
        dimension = (weight / (1 + weight)).sum(1)
        coordinate, scale = "observations", observations
    else:
        predicted = np.where(weight >= 1, 1 / (p**2 + MASS**2 + N / (BOX * NOISE**2)), density(p))
        dimension = (weight >= 1).sum(1).astype(float)
        coordinate, scale = "fisher_cutoff", 1 / observations
    measured = predicted * rng.chisquare(DRAWS - 1, predicted.shape) / (DRAWS - 1)
    error = predicted * np.sqrt(2 / (DRAWS - 1))
    running = MASS**2 + data_mass
    score = -0.75 - 0.5 / np.sqrt(observations)
    worse, paired_error = score - score[0], np.where(scale == scale[0], 0.0, 0.02)
    flow = xr.Dataset(
        {
            "observations": ("scale", observations),
            "effective_dimension": ("scale", dimension),
            "mutual_information": ("scale", 0.5 * np.log1p(weight).sum(1)),
            "kl_to_prior": ("scale", 0.5 * (np.log1p(weight) - 0.1 * weight / (1 + weight)).sum(1)),
            "test_score": ("scale", score),
            "test_score_se": ("scale", np.full(scales, 0.035)),
            "score_difference": ("scale", worse),
            "score_difference_se": ("scale", paired_error),
            "field_mean": (("scale", "x"), np.zeros((scales, N))),
            "field_sd": (("scale", "x"), np.ones((scales, N))),
        },
        coords={"scale": scale},
        attrs={
            "scheme": scheme,
            "scheme_options": "{}",
            "coordinate": coordinate,
            "critical_scale": float(scale[worse >= -paired_error][-1]),
        },
    )
    theory = xr.Dataset(
        {
            "momentum": ("momentum", p),
            "predicted": (("scale", "momentum"), predicted),
            "measured": (("scale", "momentum"), measured),
            "se": (("scale", "momentum"), error),
            "fisher_predicted": ("momentum", eigenvalue),
            "fisher_measured": ("momentum", eigenvalue * (1 + 1e-14 * rng.standard_normal(p.size))),
            "momentum_cutoff": ("scale", np.sqrt(np.clip(data_mass - MASS**2, 0, CUTOFF**2))),
            "running_mass_squared": ("scale", running),
            "running_mass_squared_measured": ("scale", running * (1 + 0.003 * rng.standard_normal(scales))),
            "running_mass_squared_se": ("scale", 0.003 * running),
        },
        coords={"scale": scale},
    )
    names = ["propagator", "trained mean", "data spectrum", "wrong mass"]
    p_scale = rng.uniform(size=(4, scales))
    p_scale[3] = 1e-9
    checks = xr.Dataset(
        {
            "name": ("check", names),
            "hypothesis": (
                "check",
                ["G_T(p) = 1/(p² + m² + M_T²)", "T9c", "y ~ prior predictive", "mass 1.1 m"],
            ),
            "role": ("check", ["correspondence", "correspondence", "data", "control"]),
            "statistic": ("check", [60.2, 55.0, 70.9, 4000.0]),
            "p_value": ("check", [0.41, 0.77, 0.23, 1e-12]),
            "smallest_detectable": ("check", [0.02, 0.018, np.nan, np.nan]),
            "verdict": ("check", ["consistent", "consistent", "consistent", "inconsistent"]),
            "detail": ("check", ["Holm over 12 scales", "63 modes", "63 modes", HOSTILE]),
            "scale_p_value": (("check", "scale"), p_scale),
        },
        coords={"scale": scale},
        attrs={"verdict": "consistent"},
    )
    return {"flow": flow, "theory": theory, "checks": checks}


def prior_mean(x):
    """The line that was taken off the record."""
    return 0.2 * (x - ORIGIN)


def mean_field(x):
    """What the data follow."""
    return 8 * np.sin(2 * x) + prior_mean(x)


def propagators() -> np.ndarray:
    """G(p) of prior and posterior in the record's units, (state, momentum)."""
    precision = 1 / density(momenta()) + np.array([[0.0], [N / (BOX * NOISE**2)]])
    return SCALE**2 / precision


def field_theory(rng) -> xr.Dataset:
    """Prior against posterior field theory, each estimate within its error of the closed form."""
    lag = np.arange(0, N // 2, 5) * BOX / N
    p, index = np.unique(momenta().round(9), return_index=True)
    exact = propagators() @ np.cos(np.outer(momenta(), lag)) / BOX
    power = propagators()[:, index]
    weight = N * density(momenta()) / (BOX * NOISE**2)
    pair_error = np.sqrt((exact[:, :1] ** 2 + exact**2) / (10 * DRAWS))
    four_error = np.sqrt(24 / (10 * DRAWS)) * exact[:, :1] ** 2 * np.ones(lag.size)
    power_error = power * np.sqrt(2 / DRAWS / np.where(p > 0, 2, 1))
    mass = np.array([1.0, 1 + N / (BOX * NOISE**2)]) * MASS**2

    def noisy(value, error):
        return value + error * rng.standard_normal(np.shape(error))

    change = 1 - 1 / np.sqrt(1 + weight)
    distance = SCALE * np.sqrt(np.sum(density(momenta()) / BOX * (0.9 * weight / (1 + weight) + change**2)))
    variables = {
        "two_point": (("state", "lag"), noisy(exact, pair_error)),
        "two_point_se": (("state", "lag"), pair_error),
        "two_point_exact": ("lag", exact[0]),
        "four_point": (("state", "lag"), noisy(0.0, four_error)),
        "four_point_se": (("state", "lag"), four_error),
        "excess_kurtosis": ("state", noisy(0.0, np.full(2, 0.02))),
        "excess_kurtosis_se": ("state", np.full(2, 0.02)),
        "power": (("state", "momentum"), noisy(power, power_error)),
        "power_se": (("state", "momentum"), power_error),
        "modes": ("momentum", np.where(p > 0, 2, 1)),
        "mass_squared": ("state", noisy(mass, 0.03 * mass)),
        "mass_squared_se": ("state", 0.03 * mass),
        "effective_dimension": ("state", np.array([0.0, np.sum(weight / (1 + weight))])),
        "kl_to_prior": (
            "state",
            np.array([0.0, 0.5 * np.sum(np.log1p(weight) - 0.1 * weight / (1 + weight))]),
        ),
        "wasserstein": ("state", np.array([0.0, distance])),
    }
    return xr.Dataset(
        variables,
        coords={"state": STATES, "lag": lag, "momentum": p},
        attrs={
            "field_unit": "hPa",
            "length_unit": "year",
            "draws_prior": 2000,
            "draws_posterior": DRAWS,
            "note": "Fluctuations about each state's own mean.",
        },
    )


def data_spectrum(rng) -> xr.Dataset:
    """The power of data drawn from the prior predictive, one bin per pair of momenta up to 60 of them."""
    p = 2 * np.pi * np.arange(1, 61) / BOX
    predicted = SCALE**2 * (np.where(p <= CUTOFF, density(p), 0) + NOISE**2 * BOX / N)
    return xr.Dataset(
        {
            "modes": ("momentum", np.full(p.size, 2)),
            "power": ("momentum", predicted * rng.chisquare(2, p.size) / 2),
            "predicted": ("momentum", predicted),
            "low": ("momentum", predicted * stats.chi2.ppf(0.025, 2) / 2),
            "high": ("momentum", predicted * stats.chi2.ppf(0.975, 2) / 2),
        },
        coords={"momentum": p},
        attrs={
            "field_unit": "hPa",
            "length_unit": "year",
            "level": 0.95,
            "note": "The zero mode was taken out of the data.",
        },
    )


def trust() -> xr.Dataset:
    """Which modes to trust: the zero mode and the longest waves are the trend's."""
    p = momenta()
    signal = N * density(p) / (BOX * NOISE**2)
    trend = p < 1.5 * 2 * np.pi / BOX
    distinguishable = signal >= 1
    trusted = distinguishable & ~trend
    return xr.Dataset(
        {
            "momentum": ("mode", p),
            "signal": ("mode", signal),
            "distinguishable": ("mode", distinguishable.astype(int)),
            "trend": ("mode", trend.astype(int)),
            "aliased": ("mode", np.zeros(p.size, int)),
            "edge": ("mode", np.full(p.size, 1 / (MASS * BOX))),
            "trusted": ("mode", trusted.astype(int)),
        },
        coords={"mode": np.arange(1, p.size + 1)},
        attrs={
            "trend_note": "3 modes are as long as the record or longer; its line and mean were taken off.",
            "aliased_note": "No mode reaches the Nyquist momentum 125.7 rad/year of the training grid.",
            "edge_note": "The record's ends disturb about 10.0% of it, 1/(mL).",
            "length_unit": "year",
        },
    )


def diagnostics(rng) -> xr.Dataset:
    """Four parts of one set of independent draws: R-hat near 1, uniform ranks."""
    names = [f"f at time = {1950 + 2.5 * i:g}" for i in range(4)] + ["mode 1", "mode 2", "log likelihood"]
    size, bins = len(names), 20
    per_bin = DRAWS / 4 / bins
    count = np.stack(
        [rng.multivariate_hypergeometric([DRAWS // bins] * bins, DRAWS // 4) for _ in range(size * 4)]
    )
    low, high = stats.hypergeom.ppf([0.025, 0.975], DRAWS, DRAWS // bins, DRAWS // 4)
    return xr.Dataset(
        {
            "r_hat": ("quantity", 1 + 0.002 * rng.uniform(size=size)),
            "ess_bulk": ("quantity", DRAWS * rng.uniform(0.95, 1.05, size)),
            "ess_tail": ("quantity", DRAWS * rng.uniform(0.9, 1.0, size)),
            "mcse_mean": ("quantity", 0.8 / np.sqrt(DRAWS) * rng.uniform(0.95, 1.05, size)),
            "rank_count": (("quantity", "chain", "rank_bin"), count.reshape(size, 4, bins)),
        },
        coords={"quantity": names},
        attrs={
            "expected": per_bin,
            "low": float(low),
            "high": float(high),
            "chains": 1,
            "parts": 4,
            "draws": DRAWS,
            "status": f"{DRAWS} independent draws in 1 chain, cut into 4 parts for ranks and R-hat.",
        },
    )


def slides(rng, scales: int = 12) -> xr.Dataset:
    """What the slider moves: the field at the training inputs and its histogram at one of them."""
    observations = np.geomspace(N, 1, scales)
    x = ORIGIN + np.arange(N) * BOX / N
    mass = observations[:, None] / (BOX * NOISE**2)
    deviation = SCALE * np.sqrt(np.sum(1 / (1 / density(momenta()) + mass), axis=1) / BOX)
    follows = mass / (2**2 + MASS**2 + mass)
    mean = prior_mean(x) + follows * (mean_field(x) - prior_mean(x))
    row = int(np.argmax(np.abs(mean[0] - mean[-1])))
    edge = np.linspace(-16, 16, 41)
    draws = mean[:, row, None] + deviation[:, None] * rng.standard_normal((scales, DRAWS)).clip(-3.4, 3.4)
    return xr.Dataset(
        {
            "observations": ("scale", observations),
            "field_mean": (("scale", "row"), mean),
            "field_sd": (("scale", "row"), deviation[:, None] * np.ones(N)),
            "input": ("row", x),
            "histogram": (("scale", "bin"), np.stack([np.histogram(d, edge)[0] for d in draws])),
            "bin_edge": ("edge", edge),
            "normal_mean": ("scale", draws.mean(axis=1)),
            "normal_sd": ("scale", draws.std(axis=1, ddof=1)),
        },
        coords={"scale": observations},
        attrs={
            "histogram_input": float(x[row]),
            "histogram_row": row,
            "prior_normal_mean": float(prior_mean(x[row])),
            "prior_normal_sd": float(propagators()[0].sum() / BOX) ** 0.5,
        },
    )


def record(rng) -> xr.Dataset:
    """The data as shown, with a field that the data follow."""
    x = np.arange(2 * N) * BOX / (2 * N) + ORIGIN
    truth = mean_field(x)
    return xr.Dataset(
        {
            "input": ("row", x),
            "value": ("row", truth + 3 * rng.standard_normal(x.size)),
            "training": ("row", (np.arange(x.size) % 2 == 0).astype(int)),
            "prior_mean": ("row", prior_mean(x)),
            "prior_sd": ("row", np.full(x.size, 9.0)),
            "prior_draw": (("prior_draws", "row"), 9 * np.sin(2 * x + np.arange(3)[:, None])),
            "posterior_mean": ("row", truth + 0.3),
            "posterior_sd": ("row", np.full(x.size, 0.8)),
        },
        attrs={
            "input_name": "time",
            "input_unit": "year",
            "value_name": f"index {HOSTILE}",
            "value_unit": "hPa",
            "noise": 3.0,
            "source": "closed form",
            "transformation": "standardised",
        },
    )


def example_tree(seed: int = 0) -> xr.DataTree:
    """Return the tree of a tuned run with two flows; a check and a column carry hostile text."""
    rng = np.random.default_rng(seed)
    branch = flow_branch("Diffusion", rng)
    eigenvalue = np.sort(density(momenta()) / (BOX * NOISE**2))[::-1]
    groups = {
        "/fisher": xr.Dataset(
            {"eigenvalue": ("mode", eigenvalue)}, attrs={"noise": NOISE, "n": N, "status": "ok"}
        ),
        "/posterior": xr.Dataset({"f": (("chain", "draw", "x"), rng.standard_normal((1, 20, 5)))}),
        "/record": record(rng),
        "/field_theory": field_theory(rng),
        "/data_spectrum": data_spectrum(rng),
        "/trust": trust(),
        "/diagnostics": diagnostics(rng),
        "/slides": slides(rng),
        "/tuning": xr.Dataset(
            {"log_evidence": ("mass_grid", -300 - 40 * np.log(np.geomspace(0.1, 10, 25)) ** 2)},
            coords={"mass_grid": np.geomspace(0.1, 10, 25)},
            attrs={"mass": 1.0, "amplitude": 1.2, "noise": 0.5},
        ),
    }
    groups |= {f"/{name}": data for name, data in branch.items()}
    groups |= {f"/shell/{name}": data for name, data in flow_branch("Shell", rng).items()}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(
        model_file="cosnet.py",
        model_name="CosNet",
        model_options=json.dumps({"dim": 1, "cutoff": CUTOFF, "mass": MASS, "noise": NOISE, "box": BOX}),
        engine="exact",
        engine_options="{}",
        seed=0,
        n=N,
        observations=float(N),
        noise=NOISE,
        draws=DRAWS,
        verdict="consistent",
        tolerance=0.05,
        versions=json.dumps({"brg_prob": "0.1", "python": "3.12"}),
        seconds=json.dumps({"posterior": 1.0, "flow": 2.5}),
        command="brg-prob run models/cosnet.py",
    )
    return tree
