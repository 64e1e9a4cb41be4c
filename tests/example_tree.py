"""A run's tree in closed form (T9), so that summary, figures and report are tested without running anything.

A free scalar on the lattice: box 10, cutoff 20, mass 1, σ = 0.5, n = 400 equispaced points. Variances
of draws are simulated from their χ² law, the one random ingredient of the tree.
"""

import json

import numpy as np
import xarray as xr

BOX, CUTOFF, MASS, NOISE, N, DRAWS = 10.0, 20.0, 1.0, 0.5, 400, 4000
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
        coordinate, scale, critical = "observations", observations, 80.0
    else:
        predicted = np.where(weight >= 1, 1 / (p**2 + MASS**2 + N / (BOX * NOISE**2)), density(p))
        dimension = (weight >= 1).sum(1).astype(float)
        coordinate, scale, critical = "fisher_cutoff", 1 / observations, np.nan
    measured = predicted * rng.chisquare(DRAWS - 1, predicted.shape) / (DRAWS - 1)
    error = predicted * np.sqrt(2 / (DRAWS - 1))
    running = MASS**2 + data_mass
    flow = xr.Dataset(
        {
            "observations": ("scale", observations),
            "effective_dimension": ("scale", dimension),
            "mutual_information": ("scale", 0.5 * np.log1p(weight).sum(1)),
            "kl_to_prior": ("scale", 0.5 * (np.log1p(weight) - 0.1 * weight / (1 + weight)).sum(1)),
            "test_score": ("scale", -0.75 - 0.5 / np.sqrt(observations)),
            "test_score_se": ("scale", np.full(scales, 0.035)),
            "field_mean": (("scale", "x"), np.zeros((scales, N))),
            "field_sd": (("scale", "x"), np.ones((scales, N))),
        },
        coords={"scale": scale},
        attrs={
            "scheme": scheme,
            "scheme_options": "{}",
            "coordinate": coordinate,
            "critical_scale": critical,
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
    )
    return {"flow": flow, "theory": theory, "checks": checks}


def record(rng) -> xr.Dataset:
    """The data as shown, with a field that the data follow."""
    x = np.arange(2 * N) * BOX / (2 * N) * 7.5 + 1950
    truth = 8 * np.sin(x / 4) + 0.2 * (x - 1950)
    return xr.Dataset(
        {
            "input": ("row", x),
            "value": ("row", truth + 3 * rng.standard_normal(x.size)),
            "training": ("row", (np.arange(x.size) % 2 == 0).astype(int)),
            "prior_mean": ("row", 0.2 * (x - 1950)),
            "prior_sd": ("row", np.full(x.size, 9.0)),
            "prior_draw": (("prior_draws", "row"), 9 * np.sin(x / 3 + np.arange(3)[:, None])),
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
