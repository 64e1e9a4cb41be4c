"""Runs of a free scalar on a lattice, drawn in closed form (T6, T9) with numpy alone.

Box 8, 48 training points and as many held out between them, modes up to index 10. The field is
drawn mode by mode; ``field_theory`` is estimated from these draws by its definition. The record's own
units are ``scale`` times the network's, its inputs start at ``origin``.
"""

import json
from types import SimpleNamespace

import numpy as np
import xarray as xr

from brg_prob.summary import summarise
from brg_prob.transform import Standardisation

BOX, POINTS, MODES, NOISE = 8.0, 48, 10, 0.4
STATES = ["prior", "posterior"]


def momenta():
    """|p| of each real mode: 0, then a cosine and a sine each."""
    index = np.arange(1, MODES + 1)
    return np.concatenate([[0.0], np.repeat(2 * np.pi * index / BOX, 2)])


def waves(x):
    """Orthonormal real plane waves at inputs, (n, modes), norm² BOX."""
    p = 2 * np.pi * np.arange(1, MODES + 1) / BOX
    pairs = np.stack([np.cos(np.outer(x, p)), np.sin(np.outer(x, p))], axis=2)
    return np.concatenate([np.ones((len(x), 1)), np.sqrt(2) * pairs.reshape(len(x), -1)], axis=1)


def propagator(state, mass, points=POINTS):
    """G(p) of prior or posterior in the network's units."""
    data = points / (BOX * NOISE**2) if state == "posterior" else 0.0
    return 1 / (momenta() ** 2 + mass**2 + data)


def field_draws(rng, state, mass, x, draws, points=POINTS):
    modes = rng.standard_normal((draws, momenta().size)) * np.sqrt(propagator(state, mass, points) / BOX)
    return modes @ waves(x).T


def truth(x):
    return np.sin(2 * np.pi * x / BOX) + 0.3 * np.cos(6 * np.pi * x / BOX)


def estimates(f):
    """Estimate two- and four-point function, power and mass of periodic draws (S, n) about zero."""
    S, n = f.shape
    lags = n // 2
    two = np.stack([(f * np.roll(f, -r, axis=1)).mean(1) for r in range(lags)], axis=1)
    four = np.stack([(f**2 * np.roll(f, -r, axis=1) ** 2).mean(1) for r in range(lags)], axis=1)
    C = two.mean(0)
    influence = four - 2 * C[0] * two[:, :1] - 4 * C * two
    transform = np.abs(np.fft.rfft(f, axis=1)) ** 2 * BOX / n**2
    power = transform[:, : MODES + 1]

    def error(series):
        return series.std(axis=0, ddof=1) / np.sqrt(S)

    G = power.mean(0)
    p_squared = (2 * np.pi * np.arange(MODES + 1) / BOX) ** 2
    design = np.stack([np.ones(MODES + 1), p_squared], axis=1)
    weight = np.where(p_squared > 0, 2, 1) * G**2
    solve = np.linalg.solve((design.T * weight) @ design, design.T * weight)
    alpha, beta = solve @ (1 / G)  # 1/G = (p² + m²)/Z
    series = -((power - G) / G**2) @ (solve[0] / beta - alpha * solve[1] / beta**2)
    kurtosis = influence[:, 0] / C[0] ** 2
    return {
        "two_point": (C, error(two)),
        "four_point": (four.mean(0) - C[0] ** 2 - 2 * C**2, error(influence)),
        "power": (power.mean(0), error(power)),
        "mass_squared": (alpha / beta, error(series)),
        "excess_kurtosis": (four[:, 0].mean() / C[0] ** 2 - 3, error(kurtosis)),
    }


def field_theory(rng, mass, posterior, scale, units, points=POINTS):
    x = np.arange(points) * BOX / points
    prior = field_draws(rng, "prior", mass, x, len(posterior))
    found = [estimates(prior), estimates(posterior)]
    weight = points * propagator("prior", mass) / (BOX * NOISE**2)
    powers = {"two_point": 2, "four_point": 4, "power": 2, "mass_squared": 0, "excess_kurtosis": 0}
    dims = {"two_point": ("lag",), "four_point": ("lag",), "power": ("momentum",)}
    variables = {}
    for name, power in powers.items():
        for part, suffix in enumerate(("", "_se")):
            values = np.stack([scale**power * each[name][part] for each in found])
            variables[name + suffix] = (("state", *dims.get(name, ())), values)
    variables["effective_dimension"] = ("state", [0.0, np.sum(weight / (1 + weight))])
    variables["kl_to_prior"] = ("state", [0.0, 0.5 * np.sum(np.log1p(weight))])
    variables["wasserstein"] = ("state", [0.0, 0.7 * scale])
    return xr.Dataset(
        variables,
        coords={
            "state": STATES,
            "lag": np.arange(points // 2) * BOX / points,
            "momentum": 2 * np.pi * np.arange(MODES + 1) / BOX,
        },
        attrs={"field_unit": units[0], "length_unit": units[1], "note": ""},
    )


def flow(mass, points, scale):
    T = np.geomspace(points, 1, 6)
    weight = T[:, None] * propagator("prior", mass) / (BOX * NOISE**2)
    return xr.Dataset(
        {
            "observations": ("scale", T),
            "effective_dimension": ("scale", (weight / (1 + weight)).sum(1)),
            "kl_to_prior": ("scale", 0.5 * np.log1p(weight).sum(1)),
            "test_score": ("scale", -0.6 - 0.5 / np.sqrt(T) + np.log(scale) * 0),
            "test_score_se": ("scale", np.full(6, 0.05)),
        },
        coords={"scale": T},
        attrs={"scheme": "Diffusion", "coordinate": "observations", "critical_scale": 8.0},
    )


def data_groups(rng, data_seed, posterior_draws, mass, points, preparation):
    """Posterior, data and record; the data depend on ``data_seed`` alone, in the record's own units."""
    step = BOX / points
    x = np.arange(points) * step
    both = np.concatenate([x, x + step / 2])
    noise = NOISE * np.random.default_rng(data_seed).standard_normal(both.size)
    y = truth(both) + noise
    f = truth(both) + posterior_draws
    shown, values = preparation.inverse_inputs(both), preparation.inverse(both, y)
    scale = preparation.scale[0]
    record = xr.Dataset(
        {
            "input": ("row", shown[:, 0]),
            "value": ("row", values),
            "training": ("row", (np.arange(both.size) < points).astype(int)),
            "prior_mean": ("row", preparation.inverse(both, np.zeros(both.size))),
            "prior_sd": ("row", np.full(both.size, scale * np.sqrt(propagator("prior", mass).sum() / BOX))),
            "posterior_mean": ("row", preparation.inverse(both, truth(both))),
        }
    )
    return {
        "/posterior": xr.Dataset({"f": (("chain", "draw", "x"), f[None, :, :points])}),
        "/constant_data": xr.Dataset({"inputs": (("x", "dim"), both[:points, None])}),
        "/observed_data": xr.Dataset({"y": ("x", y[:points])}),
        "/predictions": xr.Dataset({"f": (("chain", "draw", "x_held_out"), f[None, :, points:])}),
        "/predictions_constant_data": xr.Dataset({"inputs": (("x_held_out", "dim"), both[points:, None])}),
        "/predictions_data": xr.Dataset({"y": ("x_held_out", y[points:])}),
        "/record": record,
    }


def free_run(
    *,
    mass=1.0,
    seed=0,
    data_seed=0,
    draws=1000,
    points=POINTS,
    scale=3.0,
    origin=1950.0,
    units=("hPa", "year"),
    source="series.csv",
    engine="exact",
):
    """Return a run: anything with tree, summary and model."""
    rng = np.random.default_rng([seed, 7])
    preparation = Standardisation((origin,), (0.1,), (2.0,), (scale,))
    step = BOX / points
    both = np.concatenate([np.arange(points) * step, (np.arange(points) + 0.5) * step])
    fluctuation = field_draws(rng, "posterior", mass, both, draws, points)
    groups = data_groups(rng, data_seed, fluctuation, mass, points, preparation)
    eigenvalue = np.sort(propagator("prior", mass) / (BOX * NOISE**2))[::-1]
    groups["/fisher"] = xr.Dataset({"eigenvalue": ("mode", eigenvalue)}, attrs={"noise": NOISE, "n": points})
    groups["/flow"] = flow(mass, points, scale)
    groups["/theory"] = xr.Dataset(
        {
            "running_mass_squared": (
                "scale",
                mass**2 + groups["/flow"]["observations"].values / (BOX * NOISE**2),
            )
        },
        attrs={"mass_squared": mass**2},
    )
    groups["/field_theory"] = field_theory(rng, mass, fluctuation[:, :points], scale, units, points)
    groups["/record"].attrs = {
        "source": source,
        "sha256": source,
        "value_name": "pressure",
        "value_unit": units[0],
        "input_name": "time",
        "input_unit": units[1],
        "noise": scale * NOISE,
        "standardisation": json.dumps(preparation.to_dict()),
        "held_out": "every second row",
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(
        model_file="free.py",
        model_name="Free",
        model_options=json.dumps({"mass": mass, "noise": NOISE}),
        engine=engine,
        engine_options="{}",
        seed=seed,
        n=points,
        observations=float(points),
        noise=NOISE,
        independent=1,
        draws=draws,
        verdict="consistent",
        tolerance=0.05,
        versions="{}",
        seconds="{}",
        command=f"brg-prob run free.py --model.mass {mass:g} --seed {seed}",
    )
    return SimpleNamespace(tree=tree, summary=summarise(tree), model={})
