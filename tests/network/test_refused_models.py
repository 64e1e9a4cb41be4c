"""Models and data that cannot be read: refused in one line that names the site, the row, or the line."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob.network import Conditioned

N = 7
X = np.linspace(0.5, 2.0, N)[:, None]
Y = np.array([0.3, -0.4, 1.2, 0.7, -0.1, 0.9, 2.0])


def test_a_model_that_ignores_its_target_is_refused():
    def constant(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(w, 1.0), obs=jnp.zeros(x.shape[0]))

    with pytest.raises(ValueError, match=r"the target is not used: neither 'y' nor a factor changes"):
        Conditioned.of(constant, X, Y)
    with pytest.raises(ValueError, match=r"observes nothing"):
        Conditioned.of(
            lambda x, y=None: numpyro.deterministic("f", numpyro.sample("w", dist.Normal(0, 1)) * x[:, 0]),
            X,
            Y,
        )


def test_a_value_outside_its_support_is_named_with_its_row():
    def positive(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        numpyro.sample("y", dist.Exponential(jnp.exp(w * x[:, 0])), obs=y)

    with pytest.raises(
        ValueError, match=r"site 'y' observes -0.4 in row 1, outside the support of Exponential"
    ):
        Conditioned.of(positive, X, Y)


class Laplacian(dist.Distribution):
    """A law of the user's own, without methods but those given."""

    support = dist.constraints.real

    def log_prob(self, value):
        return -jnp.abs(value)


@pytest.mark.parametrize("where", ["latent", "observed"])
def test_a_law_that_lacks_a_method_is_named_with_its_site(where):
    def model(x, y=None):
        a = numpyro.sample("a", Laplacian() if where == "latent" else dist.Normal(0, 1))
        law = Laplacian() if where == "observed" else dist.Normal(a, 1)
        numpyro.sample("y", law.expand([x.shape[0]]), obs=y)

    site = "a" if where == "latent" else "y"
    with pytest.raises(ValueError, match=f"site {site!r}: Laplacian has no method 'sample'; give it one"):
        Conditioned.of(model, np.zeros((4, 1)), np.arange(4.0))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("", "b"), "a site is called ''"),
        (("a\nb", "b"), r"a site is called 'a\\nb'"),
        (("net/w", "net.w"), "sites 'net/w' and 'net.w' would both be stored as 'net.w'; rename one"),
        (("net/w", "net_w"), ""),
        (("α β", "b"), ""),
    ],
)
def test_names_that_no_file_can_tell_apart_are_refused(names, said):
    def model(x, y=None):
        a, b = (numpyro.sample(name, dist.Normal(0, 1)) for name in names)
        numpyro.sample("y", dist.Normal(a + b * x[:, 0], 1), obs=y)

    def read():
        return Conditioned.of(model, np.ones((4, 1)), np.arange(4.0))

    if not said:
        assert read().names == names
        return
    with pytest.raises(ValueError, match=said):
        read()


def test_a_model_that_takes_numbers_off_its_target_is_named_by_its_line():
    def model(x, y=None):
        a = numpyro.sample("a", dist.Normal(0, 1))
        most = 1 if y is None else float(y.max())
        numpyro.sample("y", dist.Normal(a * x[:, 0], most), obs=y)

    said = r"in line \d+ of test_refused_models.py .*ConcretizationTypeError.*compiled, .* use jax.numpy"
    with pytest.raises(ValueError, match=said) as refusal:
        Conditioned.of(model, X, Y)
    assert "\n" not in str(refusal.value)
