"""Maps of vectors and matrices: against NumPyro's densities and prior draws, which know nothing of them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from brg_prob.geometry import site_metric
from brg_prob.geometry.transport import from_standard_normal, to_standard_normal

ROOT = np.linalg.cholesky(np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 0.7]]))
CORRELATION = np.linalg.cholesky(np.array([[1.0, 0.6], [0.6, 1.0]]))
ADJACENT = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def lower(offset):
    """Return the function that reads the free entries of a triangular or symmetric matrix."""
    return lambda value: value[jnp.tril_indices(value.shape[-1], offset)]


# distribution, its free numbers, how many
FAMILIES = {
    "Dirichlet": (dist.Dirichlet(np.array([0.4, 2.0, 5.0, 1.0])), lambda v: v[:-1]),
    "LKJCholesky": (dist.LKJCholesky(4, 0.8), lower(-1)),
    "LKJ": (dist.LKJ(3, 2.0), lower(-1)),
    "MultivariateStudentT": (dist.MultivariateStudentT(3.0, np.array([1.0, -1.0, 0.5]), ROOT), jnp.ravel),
    "MatrixNormal": (dist.MatrixNormal(np.ones((3, 2)), ROOT, CORRELATION), jnp.ravel),
    "GaussianRandomWalk": (dist.GaussianRandomWalk(0.7, 4), jnp.ravel),
    "CAR": (dist.CAR(np.array([1.0, 0.0, 2.0]), 0.6, 1.5, ADJACENT), jnp.ravel),
    "WishartCholesky": (dist.WishartCholesky(5.0, scale_tril=ROOT), lower(0)),
    "Wishart": (dist.Wishart(5.0, scale_tril=ROOT), lower(0)),
    "GaussianCopula": (
        dist.GaussianCopula(dist.Exponential(np.array([1.0, 3.0])), correlation_cholesky=CORRELATION),
        jnp.ravel,
    ),
    "ZeroSumNormal": (dist.ZeroSumNormal(1.3, (4,)), None),
}
QUICK = ("Dirichlet", "LKJCholesky", "GaussianRandomWalk", "CAR")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES]
)
def test_density_and_jacobian_make_a_standard_normal_and_draws_are_independent(name):
    distribution, free = FAMILIES[name]
    shape = jax.eval_shape(
        lambda v: to_standard_normal(distribution, v), jax.ShapeDtypeStruct(distribution.shape(), float)
    ).shape
    points = 1.2 * np.random.default_rng(1).standard_normal((6, *shape))

    def one(z):
        value = from_standard_normal(distribution, z)
        if free is None:
            return jnp.zeros(()), to_standard_normal(distribution, value)
        numbers = lambda z: free(from_standard_normal(distribution, z.reshape(shape)))  # noqa: E731
        volume = jnp.linalg.slogdet(jax.jacfwd(numbers)(jnp.ravel(z)))[1]
        return distribution.log_prob(value) + volume, to_standard_normal(distribution, value)

    density, back = jax.jit(jax.vmap(one))(points)
    np.testing.assert_allclose(back, points, atol=1e-10)
    if free is not None:
        normal = stats.norm.logpdf(points.reshape(6, -1)).sum(axis=1)
        np.testing.assert_allclose(density, normal, atol=1e-8)

    @jax.jit
    def scores(key):
        draws = distribution.sample(key, (4000,))
        return to_standard_normal(distribution, draws).reshape(4000, -1)

    z = np.asarray(scores(jax.random.key(3)))
    assert all(stats.kstest(column, "norm").pvalue > 1e-3 for column in z.T)
    both = np.concatenate([z, z**2], axis=1)
    rho = stats.spearmanr(both).statistic - np.eye(both.shape[1])
    rho[: z.shape[1], z.shape[1] :] = rho[z.shape[1] :, : z.shape[1]] = 0
    assert np.abs(rho).max() < 4.5 / 4000**0.5


def test_draws_of_another_dirichlet_are_told_apart():
    """The control: concentrations half as large, and in another order."""
    rng = np.random.default_rng(0)
    scores = jax.jit(lambda v: to_standard_normal(dist.Dirichlet(np.array([0.4, 2.0, 5.0, 1.0])), v))
    for other in ([0.2, 1.0, 2.5, 0.5], [2.0, 0.4, 5.0, 1.0]):
        z = np.asarray(scores(rng.dirichlet(other, 4000)))
        assert min(stats.kstest(column, "norm").pvalue for column in z.T) < 1e-9


def test_information_of_counts_about_a_simplex_is_that_of_its_sticks():
    """T λ of N trials: N/(v(1 − v)) of the first piece, for the next times what is left; times (φ/beta)²."""
    a, trials = np.array([0.7, 1.5, 2.0]), 50

    def shares(x, y=None):
        p = numpyro.sample("p", dist.Dirichlet(a))
        numpyro.sample("y", dist.Multinomial(trials, p).expand([x.shape[0]]), obs=y)

    metric = site_metric(shares, np.ones((2, 1)), np.tile([10, 20, 20], (2, 1)))
    laws = stats.beta(a[0], a[1] + a[2]), stats.beta(a[1], a[2])
    first, second = (law.median() for law in laws)
    speeds = [(stats.norm.pdf(0) / law.pdf(v)) ** 2 for law, v in zip(laws, (first, second), strict=True)]
    expected = [
        trials / (first * (1 - first)) * speeds[0],
        trials * (1 - first) / (second * (1 - second)) * speeds[1],
    ]
    np.testing.assert_allclose(metric.eigenvalues, np.sort(expected)[::-1], rtol=1e-8)
    assert metric.transport
    assert metric.labels == ("p[0]", "p[1]")
    assert not np.allclose(metric.eigenvalues, trials * np.sort(speeds)[::-1], rtol=0.1)
