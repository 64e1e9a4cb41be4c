"""Spectral densities, lattices, grids and plane waves against brute force, closed forms and scipy.quad."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0

from brg_prob.spectra import (
    FreeScalar,
    Matern,
    ball_volume,
    below_cutoff,
    equispaced_grid,
    evaluate_spectrum,
    lattice_momenta,
    plane_waves,
    stationary_covariance,
)


def tensor_grid(points, dim, spacing=0.3):
    line = spacing * np.arange(points) - 1.7
    return np.stack(np.meshgrid(*[line] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


# --- densities -----------------------------------------------------------------------------------


def test_matern_of_smoothness_one_half_is_the_free_scalar_in_one_dimension():
    p = np.linspace(0, 30, 50)
    np.testing.assert_allclose(Matern(0.5)(p, 1.7, 1), FreeScalar()(p, 1.7, 1), rtol=1e-14)
    assert np.max(np.abs(Matern(0.5)(p, 1.7, 2) / FreeScalar()(p, 1.7, 2) - 1)) > 0.5


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_every_matern_has_the_free_scalars_value_at_zero(dim):
    for smoothness in (0.5, 1.5, 4.0):
        assert Matern(smoothness)(0.0, 2.3, dim) == pytest.approx(1 / 2.3**2, rel=1e-14)


def test_matern_three_halves_has_its_closed_form_in_position_space():
    m, r = 1.3, np.array([0.0, 0.4, 2.0, 5.0])
    found = stationary_covariance(np.zeros((1, 1)), r[:, None], Matern(1.5), mass=m, dim=1, cutoff=4000.0)[0]
    # (1/π) ∫ m² cos(pr)/(p² + m²)² dp = (1 + mr) e^(−mr)/(4m); the tail beyond the cutoff is below 1e-11
    np.testing.assert_allclose(found, (1 + m * r) * np.exp(-m * r) / (4 * m), atol=1e-11)


def test_densities_that_make_no_sense_are_refused():
    for spectrum, complaint in [
        (lambda p, m, d: -1.0 / (p**2 + m**2), "not negative"),
        (lambda p, m, d: 1.0 / np.where(p > 0, 0 * p + np.inf, np.nan), "finite"),
        (lambda p, m, d: 1.0, "keep the shape"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            evaluate_spectrum(spectrum, np.array([0.0, 1.0]), 1.0, 1)
    with pytest.raises(ValueError, match="smoothness = 0"):
        Matern(0.0)


def test_a_density_written_in_jax_is_evaluated_as_a_constant_under_jit():
    seen = jax.jit(
        lambda x: x + evaluate_spectrum(lambda p, m, d: jnp.exp(-p) * m, np.arange(3.0), 2.0, 1).sum()
    )
    assert float(seen(0.0)) == pytest.approx(2 * (1 + math.exp(-1) + math.exp(-2)), rel=1e-14)


# --- momenta -------------------------------------------------------------------------------------


def test_ball_volumes():
    found = [ball_volume(dim, 1.7) for dim in (1, 2, 3)]
    np.testing.assert_allclose(found, [2 * 1.7, math.pi * 1.7**2, 4 / 3 * math.pi * 1.7**3], rtol=1e-14)


@pytest.mark.parametrize(("dim", "radius"), [(1, 7), (2, 5), (3, 3)])
def test_lattice_holds_one_of_each_pair_up_to_and_on_the_cutoff(dim, radius):
    box = 3.7
    unit = 2 * math.pi / box
    momenta = lattice_momenta(dim, box, radius * unit)  # a momentum lies on the cutoff in every dimension
    index = {tuple(row) for row in np.rint(momenta / unit).astype(int)}
    ball = {
        k
        for k in itertools.product(range(-radius, radius + 1), repeat=dim)
        if sum(i * i for i in k) <= radius**2
    }
    assert len(index) == len(momenta) == (len(ball) + 1) // 2
    assert index | {tuple(-i for i in k) for k in index} == ball
    size = np.linalg.norm(momenta, axis=1)
    assert size[0] == 0
    assert np.all(np.diff(size) >= -1e-12)
    assert below_cutoff(size, radius * unit).all()
    assert not below_cutoff(size[-1] * (1 + 1e-9), radius * unit)


def test_lattice_is_read_only_and_refuses_what_no_memory_holds():
    with pytest.raises(ValueError, match="read-only"):
        lattice_momenta(1, 1.0, 10.0)[0, 0] = 1.0
    with pytest.raises(ValueError, match=r"box = 200.0 and cutoff = 20.0 hold .* modes: lower"):
        lattice_momenta(3, 200.0, 20.0)


# --- grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "points"), [(1, 63), (2, 9), (3, 4)])
def test_a_grid_is_recognised_in_any_order_of_rows(dim, points):
    x = tensor_grid(points, dim)
    grid = equispaced_grid(np.random.default_rng(dim).permutation(x))
    assert grid.points_per_side == points
    assert grid.spacing == pytest.approx(0.3, rel=1e-12)
    assert grid.box == pytest.approx(0.3 * points, rel=1e-12)
    assert 2 * grid.largest_index < points <= 2 * (grid.largest_index + 1)
    assert len(lattice_momenta(1, grid.box, grid.cutoff)) == grid.largest_index + 1


def test_what_is_no_cubic_grid_is_not_taken_for_one():
    x = tensor_grid(6, 2)
    rng = np.random.default_rng(0)
    assert equispaced_grid(x) is not None
    assert equispaced_grid(np.delete(x, 7, axis=0)) is None
    assert equispaced_grid(np.vstack([np.delete(x, 7, axis=0), x[:1]])) is None  # a hole and a duplicate
    assert equispaced_grid(x * np.array([1.0, 1.1])) is None
    assert equispaced_grid(x + 0.01 * rng.normal(size=x.shape)) is None
    assert equispaced_grid(rng.uniform(size=(36, 2))) is None
    assert equispaced_grid(np.zeros((4, 1))) is None
    assert equispaced_grid(np.full((4, 1), np.nan)) is None


def test_inputs_that_are_not_rows_are_no_grid(own_refusals):
    assert equispaced_grid(tensor_grid(6, 1)[:, 0]) is None


def test_decimal_years_rounded_to_four_digits_are_still_a_grid():
    years = 1951 + (np.arange(888) + 0.5) / 12
    assert equispaced_grid(np.round(years, 4)[:, None]).points_per_side == 888
    assert equispaced_grid(np.round(years, 2)[:, None]) is None


# --- plane waves ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "points", "radius"), [(1, 63, 31), (2, 12, 5), (3, 8, 3)])
def test_plane_waves_are_orthonormal_on_an_adequate_grid(dim, points, radius):
    x, box = tensor_grid(points, dim), 0.3 * points
    momenta = lattice_momenta(dim, box, 2 * math.pi / box * (radius + 0.01))
    basis, index = plane_waves(x, momenta, box)
    assert basis.shape == (points**dim, 2 * len(momenta) - 1)
    np.testing.assert_array_equal(index, np.repeat(np.arange(len(momenta)), 2)[1:])
    gram = np.asarray(basis.T @ basis) * 0.3**dim
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_one_point_fewer_than_twice_the_index_plus_one_aliases():
    x, box = tensor_grid(62, 1), 0.3 * 62
    basis, _ = plane_waves(x, lattice_momenta(1, box, 2 * math.pi / box * 31.5), box)
    gram = np.asarray(basis.T @ basis) * 0.3
    assert np.max(np.abs(gram - np.eye(len(gram)))) > 0.1


def test_columns_are_cosine_and_sine_of_their_momentum():
    x, box = np.array([[0.3, -0.4], [1.1, 0.7]]), 2.0
    momenta = lattice_momenta(2, box, 6.0)
    basis, index = plane_waves(x, momenta, box)
    for column in range(1, basis.shape[1]):
        wave = np.cos if column % 2 else np.sin
        expected = math.sqrt(2 / box**2) * wave(x @ momenta[index[column]])
        np.testing.assert_allclose(basis[:, column], expected, atol=1e-14)
    np.testing.assert_allclose(basis[:, 0], 1 / box)


# --- momentum integrals --------------------------------------------------------------------------

AT_ZERO = {
    1: lambda cut, m: math.atan(cut / m) / (math.pi * m),
    2: lambda cut, m: math.log(1 + cut**2 / m**2) / (4 * math.pi),
    3: lambda cut, m: (cut - m * math.atan(cut / m)) / (2 * math.pi**2),
}


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(("cutoff", "mass"), [(20.0, 1.0), (1000.0, 0.01), (2.0, 30.0)])
def test_the_variance_of_the_free_scalar_has_its_closed_form(dim, cutoff, mass):
    found = stationary_covariance(
        np.zeros((1, dim)), np.zeros((1, dim)), FreeScalar(), mass=mass, dim=dim, cutoff=cutoff
    )
    assert found[0, 0] == pytest.approx(AT_ZERO[dim](cutoff, mass), rel=1e-12)


def by_quad(r, dim, cutoff, mass):
    """The momentum integral by adaptive quadrature (QAWO's oscillatory weight where it applies)."""
    options = dict(limit=2000, epsabs=1e-13, epsrel=1e-12)
    if dim == 1:
        return quad(lambda p: 1 / (p * p + mass**2), 0, cutoff, weight="cos", wvar=r, **options)[0] / math.pi
    if dim == 3:
        return quad(lambda p: p / (p * p + mass**2), 0, cutoff, weight="sin", wvar=r, **options)[0] / (
            2 * math.pi**2 * r
        )
    return quad(lambda p: p * j0(p * r) / (p * p + mass**2), 0, cutoff, **options)[0] / (2 * math.pi)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_covariance_agrees_with_adaptive_quadrature_far_out(dim):
    cutoff, mass = 20.0, 0.7
    x = np.zeros((6, dim))
    x[:, -1] = [0.05, 0.31, 1.0, 4.2, 17.0, 35.0]  # Λr up to 700
    found = stationary_covariance(np.zeros((1, dim)), x, FreeScalar(), mass=mass, dim=dim, cutoff=cutoff)[0]
    np.testing.assert_allclose(found, [by_quad(r, dim, cutoff, mass) for r in x[:, -1]], atol=1e-10)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_reading_the_table_and_integrating_directly_agree(dim):
    rng = np.random.default_rng(dim)
    x = rng.uniform(0, 3, size=(70, dim))  # enough pairs for the table
    options = dict(mass=1.0, dim=dim, cutoff=15.0)
    table = stationary_covariance(x, x, Matern(1.2), **options)
    rows = np.concatenate(
        [stationary_covariance(x[i : i + 1], x[:9], Matern(1.2), **options) for i in range(70)]
    )
    np.testing.assert_allclose(table[:, :9], rows, atol=1e-12)
    np.testing.assert_array_equal(table, table.T)
    assert np.linalg.eigvalsh(table)[0] > -1e-12 * 70 * table[0, 0]


def test_a_rough_density_is_integrated_with_a_warning_that_tells_the_error():
    def window(p, mass, dim):
        return np.where(p < math.sqrt(2), 1.0, 0.0)

    options = dict(mass=1.0, dim=1, cutoff=5.0)
    with pytest.warns(RuntimeWarning, match="rough spectrum"):
        found = stationary_covariance(np.zeros((1, 1)), np.zeros((1, 1)), window, **options)
    assert found[0, 0] == pytest.approx(math.sqrt(2) / math.pi, rel=1e-3)
    # a narrow but smooth bump needs halving, and gets it without a word
    bump = stationary_covariance(
        np.zeros((1, 1)), np.zeros((1, 1)), lambda p, m, d: np.exp(-((p - 3) ** 2) / 2e-4), **options
    )
    assert bump[0, 0] == pytest.approx(math.sqrt(2e-4 * math.pi) / math.pi, rel=1e-9)
