"""The published experiment at toy size: training, Fisher rules, shells by other routes; its folder."""

import html.parser
import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from brg_prob.flow import Shell, coarse_grain
from brg_prob.geometry import fisher_metric, hidden_layers
from brg_prob.posterior import SgdExact, fit
from brg_prob.posterior.readout_members import prior_weights
from brg_prob.results import key_from_json
from inference import _quadratic_ensemble as ensemble_of
from inference import _quadratic_setting as setting_of
from inference import _quadratic_statistics as statistics_of
from inference import quadratic_relu_ensemble as script
from inference._quadratic_member import Case, Member, draw_member, dual_problem, measure_member, trainer
from models.mlp import Mlp

SETTING = replace(
    setting_of.SMALL,
    network=Mlp.published(widths=(6, 6, 60)),
    train=24,
    test=15,
    learning_rate=6e-5,
    epochs=200,
    compared=(5, 24),
)
CASE = Case(SETTING, (5, 24), 0, (0.0, 1e-2, 1.0, 10.0, 100.0, 1e5))
MEMBERS = 24


@pytest.fixture(scope="module")
def data():
    return setting_of.draw_data(SETTING, ensemble_of.keys_of(0)[0])


@pytest.fixture(scope="module")
def measure():
    """Return the compiled measurement of a member whose dual coefficients are given."""
    return jax.jit(lambda data, member, dual: measure_member(CASE, data, member, dual))


@pytest.fixture(scope="module")
def train(data):
    """Return a compiled function: key → member, its dual coefficients, the weights they stand for."""

    @jax.jit
    def drawn(key):
        member = draw_member(CASE, key)
        dual = trainer(SETTING, "sgd_exact")(*dual_problem(CASE, data, member))
        phi = SETTING.network.features(data.x, member.hidden)
        return member, dual, member.weights + phi.T @ dual[:, 0]

    return lambda key: jax.tree.map(np.asarray, drawn(key))


@pytest.fixture(scope="module")
def one(data, train, measure):
    """Return a member, its trained weights, and what is measured."""
    member, dual, weights = train(jax.random.key(8))
    return member, weights, {k: np.asarray(v) for k, v in measure(data, member, dual).items()}


@pytest.fixture(scope="module")
def ensemble():
    return ensemble_of.run_ensemble(CASE, "sgd_exact", MEMBERS, 0)


def features_of(x, member):
    """The network written out: identity, ReLU, ReLU, no biases, no fan-in."""
    w0, w1, w2 = (np.asarray(member.hidden[name]) for name in ("W0", "W1", "W2"))
    return np.maximum(np.maximum(np.asarray(x) @ w0.T @ w1.T, 0) @ w2.T, 0)


def diagonals_of(member):
    """Fisher diagonals of the sampled rules, by numpy."""
    return [np.mean(features_of(member.fisher_x[:count], member) ** 2, axis=0) for count in CASE.counts]


# --- the published setting -----------------------------------------------------------------------


def test_the_setting_is_the_published_one():
    setting = setting_of.Setting()
    network = setting.network
    assert (network.dim, network.widths, network.outputs) == (2, (10, 10, 2000), 1)
    assert network.activation == ("identity", "relu", "relu") and not network.fan_in
    assert (network.weight_variance, network.bias_variance, network.noise) == (1.0, 0.0, 1.0)
    assert (setting.train, setting.test, setting.learning_rate, setting.epochs) == (200, 200, 1e-6, 1000)
    cutoffs = script.case_of(setting, 10).cutoffs
    assert cutoffs[0] == 0 and len(cutoffs) == 26 and cutoffs == tuple(sorted(set(cutoffs)))
    assert script.case_of(setting, 10).counts == (10, 20, 50, 100, 200)
    assert script.case_of(setting, 30).main == 2 and script.case_of(setting, None).main == 5


def test_inputs_and_targets_are_the_published_ones(data):
    x = np.asarray(setting_of.draw_inputs(jax.random.key(1), 20_000))
    distance = np.sqrt(len(x)) * np.abs(x.mean(axis=0) - 1)
    assert distance.max() < stats.norm.isf(1e-5)
    scaled = len(x) * x.var(axis=0)
    assert np.all((scaled > stats.chi2.ppf(1e-5, len(x) - 1)) & (scaled < stats.chi2.isf(1e-5, len(x) - 1)))
    x = np.asarray(data.x)
    np.testing.assert_allclose(data.y, (1 - x[:, 0]) ** 2 - (x[:, 1] - x[:, 0] ** 2) / 2, rtol=1e-14)


# --- training ------------------------------------------------------------------------------------


def test_exact_training_is_the_plain_loop(data, train):
    found = ensemble_of.compare_loop(CASE, data, 0, 0)
    assert found["largest_difference"] < 1e-10 and found["steps"] == 200 * 24
    member, _, weights = train(jax.random.fold_in(ensemble_of.keys_of(0)[1], 0))
    phi, y = features_of(data.x, member), np.asarray(data.y)
    looped = member.weights.copy()
    for _ in range(SETTING.epochs):
        for row, value in zip(phi, y, strict=True):
            looped -= 2 * SETTING.learning_rate * (row @ looped - value) * row
    np.testing.assert_allclose(weights, looped, rtol=0, atol=1e-10)


def test_gradient_flow_is_that_of_the_eigenvectors_and_not_sgd(data, one):
    member, weights, _ = one
    phi, y = features_of(data.x, member), np.asarray(data.y)
    left, singular, right = np.linalg.svd(phi, full_matrices=False)
    gain = -np.expm1(-SETTING.time * singular**2) / singular
    expected = member.weights + right.T @ (gain * (left.T @ (y - phi @ member.weights)))
    dual = np.asarray(trainer(SETTING, "gradient_flow")(*dual_problem(CASE, data, member)))[:, 0]
    np.testing.assert_allclose(member.weights + phi.T @ dual, expected, atol=1e-8)
    assert np.max(np.abs(weights - expected)) > 1e-3


def test_stepped_members_are_the_exact_ones(data, train):
    key = ensemble_of.keys_of(0)[1]
    duals = ensemble_of._stepped(CASE, data, 3, key)
    for number in range(3):
        member, _, weights = train(jax.random.fold_in(key, number))
        stepped = member.weights + features_of(data.x, member).T @ duals[number, :, 0]
        np.testing.assert_allclose(stepped, weights, rtol=0, atol=1e-9)


# --- shells --------------------------------------------------------------------------------------


def test_shells_are_those_of_a_loop_over_cutoffs(data, one):
    member, weights, found = one
    test, y = features_of(data.test_x, member), np.asarray(data.test_y)
    for number, diagonal in enumerate(diagonals_of(member)):
        for at, cutoff in enumerate(CASE.cutoffs):
            kept = diagonal >= cutoff
            expected = (y - test[:, kept] @ weights[kept]) ** 2 + np.sum(test[:, ~kept] ** 2, axis=1)
            np.testing.assert_allclose(found["errors"][number, at], expected, rtol=1e-9, atol=1e-9)
            redrawn = (y - test @ np.where(kept, weights, member.fresh)) ** 2
            np.testing.assert_allclose(found["sampled"][number, at], redrawn, rtol=1e-8, atol=1e-8)
            assert found["sloppy"][number, at] == np.sum(~kept)
            if number == CASE.main:
                field = test[CASE.point] @ np.where(kept, weights, member.fresh)
                assert found["output"][at] == pytest.approx(field, rel=1e-9)


def test_cutoff_zero_changes_no_bit_and_the_largest_forgets_everything(ensemble):
    for number in range(len(CASE.counts) + 1):
        assert np.array_equal(ensemble.losses[:, number, 0], ensemble.trained)
        assert np.array_equal(ensemble.sampled[:, number, 0], ensemble.trained)
    assert np.array_equal(ensemble.eigen[:, 0, 0], ensemble.trained)
    np.testing.assert_allclose(
        ensemble.losses[:, :, -1], np.repeat(ensemble.forgotten[:, None], 3, axis=1), rtol=1e-12
    )
    assert np.all(ensemble.sloppy[:, :, -1] == 60) and np.all(ensemble.sloppy[:, :, 0] == 0)


def test_expectation_is_the_mean_over_redraws_of_unit_variance(data, one):
    member, weights, found = one
    test, y = features_of(data.test_x, member), np.asarray(data.test_y)
    generator = np.random.default_rng(3)
    for at in (2, 3):
        kept = diagonals_of(member)[CASE.main] >= CASE.cutoffs[at]
        fresh = generator.standard_normal((4000, 60))
        expected, limit = found["errors"][CASE.main, at].mean(), stats.norm.isf(1e-4)
        for spread, agrees in ((1.0, True), (1.2, False)):
            losses = np.mean((y - np.where(kept, weights, spread * fresh) @ test.T) ** 2, axis=1)
            z = (losses.mean() - expected) / (losses.std(ddof=1) / np.sqrt(len(losses)))
            assert (abs(z) < limit) == agrees


def test_a_shuffled_fisher_matrix_makes_the_curve_worse(data, train, ensemble):
    """Reset at a cutoff as many neurons, but any: a sign test over members."""
    key, at, worse = ensemble_of.keys_of(0)[1], 2, 0
    for number in range(MEMBERS):
        member, _, weights = train(jax.random.fold_in(key, number))
        diagonal = np.random.default_rng(number).permutation(diagonals_of(member)[1])
        kept, test = diagonal >= CASE.cutoffs[at], features_of(data.test_x, member)
        loss = np.mean((np.asarray(data.test_y) - test @ (kept * weights)) ** 2 + test**2 @ ~kept)
        worse += bool(loss > ensemble.losses[number, 1, at])
    assert stats.binom.sf(worse - 1, MEMBERS, 0.5) < 1e-4


def test_eigen_shells_are_those_of_the_dense_matrix(data, one):
    member, weights, found = one
    test, y = features_of(data.test_x, member), np.asarray(data.test_y)
    for place, number in enumerate(CASE.eigen):
        rows = features_of(member.fisher_x[: CASE.counts[number]], member)
        values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        for at, cutoff in enumerate(CASE.cutoffs[1:], start=1):
            kept = vectors[:, values >= cutoff]
            projected = test @ kept
            variance = np.sum(test**2, axis=1) - np.sum(projected**2, axis=1)
            expected = (y - projected @ (kept.T @ weights)) ** 2 + variance
            np.testing.assert_allclose(found["eigen"][place, at], expected, rtol=1e-7, atol=1e-7)


# --- the exact Fisher matrix ---------------------------------------------------------------------


def test_the_exact_rule_is_the_expectation_over_the_plane(one):
    """Against radii and angles by other quadratures, with the density of the inputs written out."""
    member = one[0]
    angle = 2 * np.pi * (np.arange(8000) + 0.5) / 8000
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    node, weight = np.polynomial.legendre.leggauss(60)
    radius, step = 5.0 * (node + 1), 5.0 * weight
    moments = {}
    for mean in (1.0, 0.8):
        square = ((radius[:, None, None] * direction - mean) ** 2).sum(axis=-1)
        density = np.exp(-square / 2) / (2 * np.pi)
        moments[mean] = (step * radius**3) @ density * (2 * np.pi / angle.size)
    rule, fine = (jax.jit(setting_of.exact_rule, static_argnums=1)(member.hidden, n) for n in (12, 300))
    found, better = (np.asarray(r.weights[0]) @ features_of(r.x, member) ** 2 for r in (rule, fine))
    squares = features_of(direction, member) ** 2
    expected = moments[1.0] @ squares
    # the stated error of the rule, and that of a rule fine enough not to have any
    stated = setting_of.rule_error(SETTING, jax.random.key(0)) * np.median(expected)
    assert np.max(np.abs(better - expected)) < 1e-5 * np.median(expected) < stated
    assert np.max(np.abs(found - expected)) < 10 * stated < 0.05 * np.median(expected)
    assert np.max(np.abs(found - moments[0.8] @ squares)) > 0.1 * np.median(expected)


def test_sampled_rules_approach_the_exact_one_and_count_its_zeros(ensemble):
    few, many, exact = (ensemble.zero[:, number].mean() for number in range(3))
    assert few > many > exact
    assert np.array_equal(ensemble.zero[:, -1], ensemble.dead) and np.all(ensemble.zero_active[:, -1] == 0)
    np.testing.assert_array_equal(ensemble.zero[:, 0] - ensemble.zero_active[:, 0], ensemble.dead)
    assert ensemble.fisher_error[:, 0].mean() > 1.5 * ensemble.fisher_error[:, 1].mean()


# --- the library's own path ----------------------------------------------------------------------


def test_fit_metric_and_shell_of_the_library_agree(data, measure):
    """Same hidden layers and initial weights; Fisher inputs are the training inputs, as in the library."""
    draws = 100
    engine = SgdExact(learning_rate=SETTING.learning_rate, epochs=SETTING.epochs)
    held_out = (data.test_x, data.test_y)
    tree = fit(
        SETTING.network, data.x, data.y, engine=engine, key=jax.random.key(5), draws=draws, held_out=held_out
    )
    hidden, key = hidden_layers(SETTING.network, tree)[0], key_from_json(tree.attrs["draw_keys"])[0]
    metric = fisher_metric(SETTING.network, data.x, at=tree)
    scheme, scales = Shell(basis="parameter", action="reset"), (CASE.cutoffs[1], CASE.cutoffs[3])
    flow = coarse_grain(SETTING.network, tree, metric, scheme=scheme, scales=scales, key=jax.random.key(6))
    mine = []
    for number in range(draws):
        start = prior_weights(key, number, (60, 1))[:, 0]
        member = Member(hidden, start, data.x, jnp.zeros(60))
        dual = jnp.asarray(tree["posterior"]["dual"].values)[0, number][:, None]
        mine.append({k: np.asarray(v) for k, v in measure(data, member, dual).items()})
    field = tree["predictions"]["f"].values[0]
    np.testing.assert_allclose(
        [m["trained"] for m in mine], (field - np.asarray(data.test_y)) ** 2, rtol=1e-6, atol=1e-6
    )
    for cutoff in scales:
        at, kept = CASE.cutoffs.index(cutoff), scheme.cut(cutoff).keeps(metric.diagonal)
        assert mine[0]["sloppy"][1, at] == int(np.sum(~np.asarray(kept)))
        moved = flow.posterior_at(cutoff)["predictions"]["f"].values[0]
        paired = np.mean((moved - np.asarray(data.test_y)) ** 2, axis=1) - [
            m["errors"][1, at].mean() for m in mine
        ]
        error = paired.std(ddof=1) / np.sqrt(draws)
        assert abs(paired.mean()) < max(4 * error, 1e-9)


# --- the ensemble and its statistics -------------------------------------------------------------


def test_a_member_is_the_same_bit_for_bit_in_an_ensemble_of_any_size(ensemble):
    few = ensemble_of.run_ensemble(CASE, "sgd_exact", 3, 0)
    for name in ("trained", "untrained", "losses", "sampled", "eigen", "output", "sloppy", "zero", "start"):
        assert np.array_equal(getattr(few, name), getattr(ensemble, name)[:3]), name
    other = ensemble_of.run_ensemble(CASE, "sgd_exact", 3, 1)
    assert not np.array_equal(other.data.x, few.data.x)
    assert not np.any(np.isin(other.untrained, few.untrained))


def test_groups_hold_the_trained_members_sums(ensemble):
    good = ensemble.converged
    total = ensemble.group_errors[:, :3].sum(axis=0).mean(axis=-1)
    np.testing.assert_allclose(total, ensemble.losses[good].sum(axis=0), rtol=1e-12)
    assert ensemble.group_sizes.sum() == good.sum()


def test_members_that_diverge_are_counted_and_leave_the_means_alone(ensemble):
    bad = np.arange(MEMBERS) < 5

    def spoilt(values):
        values = np.array(values)
        values[bad] = np.array([np.nan, np.inf, np.nan, 1e300, 1e9]).reshape(5, *[1] * (values.ndim - 1))
        return values

    names = ("trained", "end", "losses", "eigen", "sampled", "output")
    wild = replace(ensemble, **{name: spoilt(getattr(ensemble, name)) for name in names})
    assert np.array_equal(wild.converged, ~bad)
    losses = {"sgd_exact": wild.trained, "gradient_flow": ensemble.trained}
    sizes = {"norm": np.ones(MEMBERS), "largest": np.where(bad, 3.0, 1.0)}
    found = statistics_of.summarise(wild, losses | sizes, 0)
    assert found["diverged"] == 5 and found["counterparts"]["stable_members"] == MEMBERS - 5
    assert found["trained"]["mean"] == pytest.approx(ensemble.trained[~bad].mean())
    ranked = np.sort(np.where(bad, np.inf, ensemble.trained))[[11, 12]]
    assert found["trained"]["median"] == pytest.approx(ranked.mean())
    block = statistics_of.experiment(wild, found)
    json.dumps([block, found], allow_nan=False)
    assert [value is None for value in block["trained_loss"]] == [True] * 3 + [False] * (MEMBERS - 3)
    assert block["diverged"] == [0, 1, 2, 3, 4]


def test_critical_cutoff_pairs_inputs_and_ends_at_the_first_failure():
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(400)
    loss = 100 * generator.random(400)
    noise -= noise.mean()
    scale = noise.std(ddof=1) / 20
    rows = np.stack([loss, loss + noise + 0.9 * scale, loss + noise + 1.1 * scale, loss - 1])
    cutoffs = (0.0, 1.0, 2.0, 3.0)
    value, difference, error = statistics_of.critical_cutoff(cutoffs, rows)
    assert value == 1.0
    np.testing.assert_allclose(difference[1:3] / error[1:3], [0.9, 1.1])
    assert statistics_of.critical_cutoff(cutoffs, rows[[0, 1, 1, 1]])[0] == 3.0
    assert math.isnan(statistics_of.critical_cutoff(cutoffs, rows[[0, 2, 1, 1]])[0])


def test_a_risen_curve_is_found_between_cutoffs():
    cutoffs = np.array([0.0, 1.0, 100.0, 1000.0])
    assert statistics_of.rise_cutoff(cutoffs, np.array([1.0, 1.0, 4.0, 9.0]), 2.0) == pytest.approx(10)
    assert math.isnan(statistics_of.rise_cutoff(cutoffs, np.array([1.0, 3.0, 4.0, 9.0]), 2.0))
    assert statistics_of.rise_cutoff(cutoffs, np.ones(4), 2.0) == 1000


# --- what is printed and written -----------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder, what was printed, and summary.json of one small run."""
    folder = tmp_path_factory.mktemp("run") / "new" / "out"
    printed = []
    given = ["--small", "--members", "24", "--out", str(folder), "--seed", "3", "--compare-loop"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *text, **options: None if options else printed.append(*text))
        assert script.main(given) == 0
    return folder, "\n".join(printed), json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
def test_the_summary_has_its_stable_keys(run):
    block = run[2]["experiment"]
    count = len(block["cutoffs"])
    assert count == 26 and len(block["trained_loss"]) == 24
    for name in ("sloppy_mean", "expected_loss_mean", "expected_loss_median", "sampled_loss_mean"):
        assert len(block[name]) == count
    assert block["critical_cutoff"] is None or block["critical_cutoff"] in block["cutoffs"]
    assert block["expected_loss_mean"][0] == block["sampled_loss_mean"][0]
    assert block["sloppy_mean"] == sorted(block["sloppy_mean"]) and block["sloppy_mean"][-1] == 150
    assert run[2]["restored"]["relative"] < 1e-12 and run[2]["restored"]["unchanged_at_zero"]
    assert run[2]["loop"]["largest_difference"] < 1e-8
    # one redraw per member scatters about its expectation
    assert run[2]["redraw"]["largest_z"] < stats.norm.isf(1e-4 / 50)


@pytest.mark.slow
def test_few_fisher_inputs_make_the_loss_jump_and_the_exact_matrix_does_not(run):
    few, *_, exact = run[2]["rules"]
    assert few["fisher_inputs"] == "10" and few["median"][1] > 1.5 * few["median"][0]
    assert few["risen"]["value"] is None and exact["risen"]["value"] > 1e-3
    assert exact["median"][1] < 1.05 * exact["median"][0]
    assert few["zero"]["mean"] > 1.5 * exact["zero"]["mean"]


@pytest.mark.slow
def test_the_table_fits_a_terminal_and_quotes_what_was_not_measured(run):
    lines = run[1].splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the last one is a path
    assert any("130 s and 4 GB" in line and line.endswith("quoted") for line in lines)
    words = ("agrees", "differs", "measured", "quoted")
    for chapter in run[2]["chapters"]:
        assert chapter["title"] in lines
        assert all(finding["verdict"] in words for finding in chapter["findings"])


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.labels, self.figures, self.links = [], [], []
        self.policy, self.slides, self.inside = "", "", False

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag == "figure":
            self.figures.append(named["id"])
        if named.get("role") == "img":
            self.labels.append(named["aria-label"])
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"]
        self.inside = named.get("id") == "slides"
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.slides += data if self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


@pytest.mark.slow
def test_the_page_stands_alone_and_its_slider_moves_every_published_picture(run):
    page = _Page()
    page.feed((run[0] / "report.html").read_text(encoding="utf-8"))
    assert page.figures == [
        *("moving-members", "moving-losses", "moving-curve", "moving-output"),
        *("curve", "members", "losses", "output"),
        *("inputs", "critical", "fisher", "eigen"),
    ]
    assert len(page.labels) == 12 and all(len(label) > 40 for label in page.labels)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "default-src 'none'" in page.policy and "unsafe-eval" not in page.policy
    slides = json.loads(page.slides)
    assert len(slides["texts"]) == 26 and [panel["name"] for panel in slides["panels"]] == page.figures[:4]
    for panel in slides["panels"]:
        assert len(set(panel["captions"])) > 10 and panel["moving"]
        assert all(len(rows) == 26 for table in panel["moving"].values() for rows in table.values())


def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for given in (
        *(["--members", "1"], ["--members", "many"], ["--seed", "-1"], ["--method", "adam"]),
        *(
            ["--fisher-inputs", "0"],
            ["--fisher-inputs", "all"],
            ["--out", str(tmp_path / "file")],
            ["--large"],
        ),
    ):
        with pytest.raises(SystemExit) as stop:
            script.main(given)
        assert stop.value.code == 2
        assert "error" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
