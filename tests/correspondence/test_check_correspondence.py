"""check_correspondence on real flows: lattice, random momenta, several outputs, sampled noise, chains."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from brg_prob.correspondence import ExactRG, check_correspondence, erg_prediction
from brg_prob.correspondence.verdicts import Check, overall
from brg_prob.erg import FreeTheory
from brg_prob.flow import Diffusion, Shell, coarse_grain, default_scales, fisher_cutoffs
from brg_prob.geometry import fisher_metric
from brg_prob.geometry.readout_spectrum import features_of
from brg_prob.network import isotropic_prior
from brg_prob.posterior import fit
from brg_prob.spectra import equispaced_grid
from models.cosnet import CosNet

N, BOX = 100, 10.0
X = np.arange(N)[:, None] * BOX / N
SCALES = default_scales(float(N), 4)


def exact(network, x, **options):
    return ExactRG(erg_prediction(network, x), **options)


def flow_of(network, *, scheme=None, draws=4000, seed=0, x=X, scales=SCALES):
    """A posterior of data drawn from a network, flowed; mostly as many draws, so that programs are shared."""
    hidden, post, key = jax.random.split(jax.random.key(seed), 3)
    rng = np.random.default_rng(seed)  # numpy's normals spare a compilation
    features = np.asarray(features_of(network, x, network.sample_hidden(hidden)))
    weights = rng.standard_normal((features.shape[1], network.outputs))
    weights *= np.sqrt(np.asarray(network.readout_prior({}).covariance.scale))
    y = features @ weights + network.noise * rng.standard_normal((x.shape[0], network.outputs))
    y = y[:, 0] if network.outputs == 1 else y
    posterior = fit(network, x, y, key=post, draws=draws)
    scheme = scheme or Diffusion()
    scales = scales if isinstance(scheme, Diffusion) else fisher_cutoffs(scales)
    return coarse_grain(
        network, posterior, fisher_metric(network, x, at=posterior), scheme=scheme, scales=scales, key=key
    )


@pytest.fixture(scope="module")
def lattice_flow():
    return flow_of(CosNet(box=BOX))


def by_name(checks):
    return {check.name: check for check in checks.checks}


def with_draws(tree, change, **attrs):
    """A posterior whose variables of draws, (chain, draw, …), are changed by a function of the array."""
    made = tree.copy()
    for name, node in tree.children.items():
        data = node.to_dataset().drop_vars(["chain", "draw"], errors="ignore")
        drawn = {n: (v.dims, change(v.values)) for n, v in data.data_vars.items() if "draw" in v.dims}
        if drawn:
            kept = {n: v for n, v in data.data_vars.items() if "draw" not in v.dims}
            made[name] = xr.DataTree(xr.Dataset({**kept, **drawn}))
    made.attrs.update(attrs)
    return made


@pytest.mark.parametrize("digits", [3, 13])
def test_inputs_rounded_as_dates_are_move_the_fisher_spectrum_within_its_bound(digits):
    # as a calendar has it: far from the origin, to some decimals
    x = np.round(1951.0 + X + 0.4 / 12, digits)
    x = x - x.min()
    displaced = equispaced_grid(x).displacement
    assert displaced > 1e-14
    flow = flow_of(CosNet(box=BOX), x=x, scales=SCALES[:1])
    found = by_name(check_correspondence(flow, exact(CosNet(box=BOX), x), controls=False))["Fisher spectrum"]
    assert found.verdict == "consistent"
    assert found.statistic < found.smallest_detectable < 100 * found.statistic
    # a mass wrong by as much as shows beyond the bound is still found
    off = CosNet(box=BOX, mass=1.0 + 10 * found.smallest_detectable)
    wrong = by_name(check_correspondence(flow, exact(off, x), controls=False))["Fisher spectrum"]
    assert wrong.verdict == "inconsistent"


def test_a_lattice_cosnet_diffuses_along_the_exact_renormalization_group(lattice_flow):
    prediction = erg_prediction(CosNet(box=BOX), X)
    check_correspondence(lattice_flow, ExactRG(prediction))
    begin = time.perf_counter()
    checks = check_correspondence(lattice_flow, ExactRG(prediction), controls=True)
    assert time.perf_counter() - begin < 10
    assert checks.verdict == "consistent"
    assert checks.status.startswith("agrees: At all 4 scales this posterior under the flow agrees")
    found = by_name(checks)
    assert found["Fisher spectrum"].statistic < 1e-12
    assert found["propagator"].smallest_detectable < 0.021
    assert all(
        found[name].verdict == "inconsistent" for name in ("wrong mass", "wrong map", "reversed shell")
    )
    assert found["data spectrum"].role == "data"


def test_the_tree_holds_predicted_and_measured_by_scale_and_momentum(lattice_flow):
    checks = check_correspondence(lattice_flow, exact(CosNet(box=BOX), X))
    theory, table = checks.tree["theory"].dataset, checks.tree["checks"].dataset
    assert theory["predicted"].dims == ("scale", "momentum")
    assert theory.sizes == {"scale": 4, "momentum": 63}
    assert np.max(np.abs(theory["measured"] - theory["predicted"]) / theory["se"]) < 5
    assert np.max(np.abs(theory["mean_measured"] - theory["mean_predicted"]) / theory["mean_se"]) < 5
    np.testing.assert_allclose(theory["fisher_measured"], theory["fisher_predicted"], rtol=1e-12)
    assert table["scale_p_value"].dims == ("check", "scale")
    rows = checks.rows()
    assert [row["name"] for row in rows] == table["name"].values.tolist()
    assert set(rows[0]) == {
        "name", "hypothesis", "statistic", "p_value", "smallest_detectable", "unit", "verdict", "detail",
        "role", "smallest_detectable_single", "observed", "observed_single", "where", "scales_tested",
    }  # fmt: skip


@pytest.mark.parametrize("change", [{"mass": 1.1}, {"noise": 0.6}, {"amplitude": 1.1}])
def test_a_wrong_prediction_is_inconsistent(lattice_flow, change):
    wrong = dataclasses.replace(erg_prediction(CosNet(box=BOX), X), **change)
    checks = check_correspondence(lattice_flow, ExactRG(wrong))
    assert checks.verdict == "inconsistent"
    assert by_name(checks)["propagator"].verdict == "inconsistent"
    assert by_name(checks)["Fisher spectrum"].verdict == "inconsistent"
    assert "differs" in checks.status


@pytest.mark.parametrize(
    "scheme",
    [
        Shell(),
        pytest.param(Shell(basis="parameter"), marks=pytest.mark.slow),
        pytest.param(Shell(action="drop"), marks=pytest.mark.slow),
    ],
)
def test_information_shells_are_momentum_shells(scheme):
    flow = flow_of(CosNet(box=BOX), scheme=scheme, scales=(100.0, 20.0, 3.0), seed=1)
    checks = check_correspondence(flow, exact(CosNet(box=BOX), X), controls=True)
    found = by_name(checks)
    assert all(c.verdict == "inconsistent" for c in checks.checks if c.role == "control")
    # a drop leaves a few modes at the last scale, too few for 5 %
    assert checks.verdict == ("undetermined" if scheme.action == "drop" else "consistent")
    assert found["information shell"].p_value > 0.025 and found["trained mean"].p_value > 0.025


def test_a_shell_that_keeps_the_sloppy_modes_is_inconsistent():
    flow = flow_of(CosNet(box=BOX), scheme=Shell(keep="sloppy"))
    assert check_correspondence(flow, exact(CosNet(box=BOX), X)).verdict == "inconsistent"


@pytest.mark.slow
def test_several_outputs_are_independent_copies():
    network = CosNet(box=BOX, outputs=3)
    checks = check_correspondence(flow_of(network), exact(network, X))
    assert checks.verdict == "consistent"
    assert by_name(checks)["propagator"].detail.startswith("189 modes")
    assert checks.tree["theory"]["mean_measured"].sizes == {"scale": 4, "momentum": 63, "output": 3}


@pytest.mark.slow
def test_draws_with_their_own_noise_are_tested_exactly():
    # σ spread by a factor of two: held against one σ the variances would be far off
    network = CosNet(box=BOX, noise_spread=0.7)
    x, scales = X[::5], (20.0, 5.0, 1.0)
    network = dataclasses.replace(network, cutoff=5.0)
    flow = flow_of(network, x=x, scales=scales)
    assert np.std(np.log(flow.draw_noise)) > 0.1
    checks = check_correspondence(flow, exact(network, x))
    assert checks.verdict == "consistent"
    start = flow.start.copy()
    start["posterior"] = xr.DataTree(start["posterior"].to_dataset().drop_vars("noise"))
    given = dataclasses.replace(flow, start=start, network=dataclasses.replace(network, noise_spread=0.0))
    ignoring = check_correspondence(given, exact(network, x))
    assert ignoring.verdict == "inconsistent"


@pytest.mark.slow
def test_a_flow_in_two_dimensions():
    x = np.stack(np.meshgrid(np.arange(14.0), np.arange(14.0), indexing="ij"), axis=-1).reshape(-1, 2)
    network = CosNet(dim=2, box=14.0, cutoff=2.5, mass=0.5)
    flow = flow_of(network, x=x, scales=(196.0, 10.0))
    assert check_correspondence(flow, exact(network, x)).verdict == "consistent"


def ridge_prediction(flow):
    """T10 with the kernel matrix of this very network, by dense algebra."""
    phi = np.asarray(features_of(flow.network, flow.x, flow.metric.hidden[0]))
    kernel = phi @ phi.T / flow.network.width

    def at(observations):
        ridge = flow.noise**2 * len(phi) / observations
        gain = np.linalg.solve(kernel + ridge * np.eye(len(phi)), kernel).T
        return kernel - gain @ kernel, gain @ flow.targets

    return at


@pytest.mark.parametrize("width", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_random_momenta_follow_the_finite_width_prediction_not_the_continuum(width):
    network = CosNet(width=width)
    flow = flow_of(network, draws=2000)
    checks = check_correspondence(flow, exact(network, X, finite_size=ridge_prediction(flow)))
    found = by_name(checks)
    assert found["propagator"].verdict == "inconsistent"
    assert found["finite width"].verdict == found["finite width mean"].verdict == "consistent"
    beside = checks.tree["theory"].dataset
    assert np.abs(beside["measured"] / beside["finite_size"] - 1).max() < 0.2
    at = ridge_prediction(flow)
    doubled = check_correspondence(flow, exact(network, X, finite_size=lambda t: at(2 * t)))
    assert by_name(doubled)["finite width"].verdict == "inconsistent"


@pytest.mark.slow
def test_a_relu_network_held_against_the_free_scalar_is_rejected():
    @dataclasses.dataclass(frozen=True)
    class Relu:
        width: int = 300
        outputs: int = 1
        noise: float = 0.5
        noise_spread: float = 0.0

        def sample_hidden(self, key):
            w, b = jax.random.normal(key, (2, self.width))
            return {"w": w, "b": b}

        def features(self, x, hidden):
            return jnp.maximum((x - BOX / 2) * hidden["w"][None] + hidden["b"][None], 0)

        def readout_prior(self, hidden):
            return isotropic_prior(self.width, 1, variance=1 / self.width)

    held = ExactRG(FreeTheory(dim=1, box=BOX, cutoff=20.0, noise=0.5, mass=1.0))
    rejected = [check_correspondence(flow_of(Relu(), draws=2000, seed=s), held).verdict for s in range(3)]
    assert rejected == ["inconsistent"] * 3


@pytest.mark.slow
def test_chains_are_tested_at_their_effective_sample_size(lattice_flow):
    start = with_draws(lattice_flow.start, lambda v: v.reshape(4, -1, *v.shape[2:]), independent=0)
    flow = dataclasses.replace(lattice_flow, start=start, scales=lattice_flow.scales[:1])
    checks = check_correspondence(flow, exact(CosNet(box=BOX), X))
    found = by_name(checks)["propagator"]
    assert found.verdict == "consistent"
    assert "4 chains of 1000 draws" in found.detail
    # draws stuck together in runs of ten: fewer effective ones, and said so
    stuck = with_draws(start, lambda v: np.repeat(v[:, ::10], 10, axis=1))
    checks = check_correspondence(dataclasses.replace(flow, start=stuck), exact(CosNet(box=BOX), X))
    assert checks.verdict == "undetermined"
    assert "do not suffice" in checks.status


def test_too_few_draws_are_undetermined(lattice_flow):
    flow = dataclasses.replace(lattice_flow, start=with_draws(lattice_flow.start, lambda v: v[:, :300]))
    checks = check_correspondence(flow, exact(CosNet(box=BOX), X))
    assert checks.verdict == "undetermined"
    assert not any(check.verdict == "inconsistent" for check in checks.checks)


def test_the_overall_verdict_needs_its_controls():
    def check(role, verdict):
        return Check("c", "h", role, 0.0, 0.5, 0.01, verdict, "", np.zeros(1))

    good, bad = check("correspondence", "consistent"), check("correspondence", "inconsistent")
    open_, caught, missed = (
        check("correspondence", "undetermined"),
        check("control", "inconsistent"),
        check("control", "consistent"),
    )
    wrong_data = check("data", "inconsistent")
    assert overall((good, caught, wrong_data)) == "consistent"
    assert overall((good, missed)) == "undetermined"
    assert overall((good, open_)) == "undetermined"
    assert overall((good, open_, bad, missed)) == "inconsistent"
    assert overall((wrong_data,)) == "undetermined"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 5.0}, r"tolerance = 5\.0"),
        ({"level": 0.0}, r"level = 0\.0"),
        ({"tuned": ("width",)}, "tuned = 'width'"),
    ],
)
def test_options_out_of_range_are_refused(lattice_flow, options, message):
    named = {name: options[name] for name in options if name == "tuned"}
    asked = {name: options[name] for name in options if name != "tuned"}
    with pytest.raises(ValueError, match=message):
        check_correspondence(lattice_flow, exact(CosNet(box=BOX), X, **named), **asked)


def test_inputs_that_do_not_fill_the_box_are_refused(lattice_flow):
    with pytest.raises(ValueError, match="fill a box of side 10, the prediction has box = 20"):
        check_correspondence(lattice_flow, exact(CosNet(box=20.0), X))


def test_a_prediction_needs_a_free_field_and_a_grid():
    with pytest.raises(TypeError, match="FreeField"):
        erg_prediction(lambda x, y=None: None, X)
    with pytest.raises(ValueError, match="no full equispaced grid"):
        erg_prediction(CosNet(width=10), X**2)


def test_a_free_field_that_names_no_spectrum_can_still_change_its_mass():
    @dataclasses.dataclass(frozen=True)
    class Bare:
        dim: int = 1
        cutoff: float = 20.0
        mass: float = 1.0
        noise: float = 0.5
        box: float | None = None

        def spectral_density(self, p):
            return jnp.where(p <= self.cutoff, 3.0 / (p**2 + self.mass**2), 0)

    named = erg_prediction(Bare(), X)
    assert named.box == pytest.approx(BOX)
    p = np.array([0.0, 2.0, 30.0])
    np.testing.assert_allclose(dataclasses.replace(named, mass=2.0).g0(p), [3 / 4, 3 / 8, 0])


def test_a_data_spectrum_tuned_on_its_own_data_is_calibrated_by_bootstrap(lattice_flow):
    checks = check_correspondence(lattice_flow, exact(CosNet(box=BOX), X, tuned=("mass", "noise")))
    found = by_name(checks)["data spectrum"]
    assert "tuned on these data" in found.detail
    assert 0 < found.p_value <= 1 and found.verdict in ("undetermined", "inconsistent")
