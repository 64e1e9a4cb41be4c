"""Models of the kinds that people write in NumPyro, each at toy size.

They are written as users write them: arguments are columns, the target has whatever name the field gives
it, groups are indices, some have no inputs at all.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.experimental.ode import odeint
from jax.scipy.special import expit
from numpyro.contrib.control_flow import scan
from numpyro.contrib.hsgp.approximation import hsgp_squared_exponential

# --- after NumPyro's examples --------------------------------------------------------------------


def partial_pooling(trials, successes=None):
    """Beta-binomial pooling: a rate for each row, shrunk towards a common one."""
    centre = numpyro.sample("centre", dist.Beta(2, 2))
    strength = numpyro.sample("strength", dist.Gamma(2, 0.1))
    with numpyro.plate("players", trials.shape[0]):
        rate = numpyro.sample("rate", dist.Beta(centre * strength, (1 - centre) * strength))
        numpyro.sample("successes", dist.Binomial(trials, probs=rate), obs=successes)


def varying_slopes(dept, male, applications, admit=None):
    """A GLMM: intercept and slope of each group, correlated by an LKJ prior."""
    groups = int(dept.max()) + 1
    mean = numpyro.sample("mean", dist.Normal(0, 1).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1).expand([2]).to_event(1))
    corr = numpyro.sample("corr", dist.LKJCholesky(2, concentration=2))
    with numpyro.plate("depts", groups):
        effect = numpyro.sample("effect", dist.MultivariateNormal(mean, scale_tril=sigma[:, None] * corr))
    with numpyro.plate("rows", dept.shape[0]):
        logits = effect[dept, 0] + effect[dept, 1] * male
        numpyro.sample("admit", dist.Binomial(applications, logits=logits), obs=admit)


def stochastic_volatility(returns):
    """Log-volatility is a random walk; the returns are the only argument."""
    step = numpyro.sample("step", dist.Exponential(20.0))
    nu = numpyro.sample("nu", dist.Exponential(0.1))
    walk = numpyro.sample("walk", dist.GaussianRandomWalk(scale=step, num_steps=len(returns)))
    with numpyro.plate("days", len(returns)):
        numpyro.sample("r", dist.StudentT(nu + 2, 0.0, jnp.exp(walk)), obs=returns)


def horseshoe(X, Y):
    """Sparse regression: global and local scales."""
    local = numpyro.sample("local", dist.HalfCauchy(1).expand([X.shape[1]]).to_event(1))
    overall = numpyro.sample("overall", dist.HalfCauchy(1))
    raw = numpyro.sample("raw", dist.Normal(0, 1).expand([X.shape[1]]).to_event(1))
    beta = numpyro.deterministic("beta", overall * local * raw)
    precision = numpyro.sample("precision", dist.Gamma(3, 1))
    numpyro.sample("Y", dist.Normal(X @ beta, 1 / jnp.sqrt(precision)), obs=Y)


def gp_marginal(X, Y):
    """A Gaussian process with its field integrated out: one joint observation."""
    variance = numpyro.sample("variance", dist.LogNormal(0, 1))
    length = numpyro.sample("length", dist.LogNormal(0, 0.5))
    squared = (X - X.T) ** 2
    k = variance * jnp.exp(-0.5 * squared / length**2) + 0.05 * jnp.eye(len(X))
    numpyro.sample("Y", dist.MultivariateNormal(jnp.zeros(len(X)), covariance_matrix=k), obs=Y)


def gp_latent(X, Y=None):
    """The same field kept as a latent site, seen through counts."""
    length = numpyro.sample("length", dist.LogNormal(0, 0.5))
    k = jnp.exp(-0.5 * (X - X.T) ** 2 / length**2) + 1e-4 * jnp.eye(len(X))
    white = numpyro.sample("white", dist.Normal(0, 1).expand([len(X)]).to_event(1))
    f = numpyro.deterministic("f", jnp.linalg.cholesky(k) @ white)
    numpyro.sample("Y", dist.Poisson(jnp.exp(f)), obs=Y)


def zero_inflated(persons, count=None):
    """Counts with a gate."""
    a = numpyro.sample("a", dist.Normal(0, 1))
    b = numpyro.sample("b", dist.Normal(0, 0.5))
    gate = numpyro.sample("gate", dist.Beta(2, 2))
    with numpyro.plate("rows", len(persons)):
        numpyro.sample("count", dist.ZeroInflatedPoisson(gate, rate=jnp.exp(a + b * persons)), obs=count)


def autoregression(y):
    """AR(2) by a scan that observes; the first two values are conditioned on."""
    a = numpyro.sample("a", dist.Normal(0, 0.5).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))

    def step(past, now):
        now = numpyro.sample("y", dist.Normal(a[0] * past[0] + a[1] * past[1], sigma), obs=now)
        return (now, past[0]), now

    scan(step, (y[1], y[0]), y[2:])


def bayesian_network(X, Y=None, D_H=2, D_Y=1):
    """Two hidden layers and targets of shape (n, 1)."""
    w1 = numpyro.sample("w1", dist.Normal(jnp.zeros((X.shape[1], D_H)), 1.0))
    w2 = numpyro.sample("w2", dist.Normal(jnp.zeros((D_H, D_Y)), 1.0))
    mean = jnp.tanh(X @ w1) @ w2
    precision = numpyro.sample("precision", dist.Gamma(3.0, 1.0))
    if Y is not None:
        assert mean.shape == Y.shape
    with numpyro.plate("data", X.shape[0]):
        numpyro.sample("Y", dist.Normal(mean, 1 / jnp.sqrt(precision)).to_event(1), obs=Y)


def hsgp(x, y=None, m=4):
    """Births by a Hilbert-space Gaussian process."""
    alpha = numpyro.sample("alpha", dist.HalfNormal(1))
    length = numpyro.sample("length", dist.InverseGamma(5, 3))
    noise = numpyro.sample("noise", dist.HalfNormal(0.5))
    f = numpyro.deterministic("f", hsgp_squared_exponential(x[:, 0], alpha, length, ell=3.0, m=m))
    with numpyro.plate("obs", len(x)):
        numpyro.sample("y", dist.Normal(f, noise), obs=y)


def subsampled_logistic(data, obs=None, subsample_size=4):
    """A logistic regression on minibatches."""
    theta = numpyro.sample("theta", dist.Normal(0, 1).expand([data.shape[1]]).to_event(1))
    with numpyro.plate("N", data.shape[0], subsample_size=subsample_size) as idx:
        seen = None if obs is None else obs[idx]
        numpyro.sample("obs", dist.Bernoulli(logits=data[idx] @ theta), obs=seen)


# --- others that people have ---------------------------------------------------------------------


def eight_schools(J, sigma, y=None):
    """Effects of coaching with their known errors, non-centred."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("J", J):
        raw = numpyro.sample("raw", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * raw)
        numpyro.sample("obs", dist.Normal(theta, sigma), obs=y)


def hierarchical(county_idx, floor, radon=None):
    """Intercepts by group, a common slope; the group is a column of names."""
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    tau = numpyro.sample("tau", dist.HalfNormal(1))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    with numpyro.plate("counties", len(np.unique(county_idx))):
        alpha = numpyro.sample("alpha", dist.Normal(mu, tau))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    with numpyro.plate("rows", len(floor)):
        numpyro.sample("radon", dist.Normal(alpha[county_idx] + slope * floor, sigma), obs=radon)


def ordinal(x, grade=None):
    """Ordered categories, cut points by a transformed distribution."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    base = dist.Normal(0, 2).expand([2]).to_event(1)
    cuts = numpyro.sample("cuts", dist.TransformedDistribution(base, dist.transforms.OrderedTransform()))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("grade", dist.OrderedLogistic(b * x[:, 0], cuts), obs=grade)


def mixture(velocity):
    """Two normal components, the labels summed out; no inputs."""
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(2)))
    base = dist.Normal(0, 3).expand([2]).to_event(1)
    centres = numpyro.sample(
        "centres", dist.TransformedDistribution(base, dist.transforms.OrderedTransform())
    )
    scale = numpyro.sample("scale", dist.LogNormal(0, 0.5))
    mixed = dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(centres, scale))
    with numpyro.plate("galaxies", len(velocity)):
        numpyro.sample("velocity", mixed, obs=velocity)


def overdispersed(effort, x, caught=None):
    """Negative binomial counts with an exposure."""
    b = numpyro.sample("b", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    a = numpyro.sample("a", dist.Normal(0, 1))
    size = numpyro.sample("size", dist.Gamma(2, 0.5))
    with numpyro.plate("rows", len(effort)):
        rate = effort * jnp.exp(a + x @ b)
        numpyro.sample("caught", dist.NegativeBinomial2(rate, size), obs=caught)


def recapture(first, second, seen_twice=None):
    """Capture and recapture with the population relaxed to a real number; one row."""
    log_extra = numpyro.sample("log_extra", dist.Normal(3, 1))
    size = numpyro.deterministic("size", first + second + jnp.exp(log_extra))
    numpyro.sample("seen_twice", dist.Binomial(second, probs=first / size), obs=seen_twice)


def robust(x, y=None):
    """A line with StudentT noise."""
    a = numpyro.sample("a", dist.Normal(0, 2))
    b = numpyro.sample("b", dist.Normal(0, 2))
    nu = numpyro.sample("nu", dist.Gamma(2, 0.1))
    scale = numpyro.sample("scale", dist.HalfNormal(1))
    numpyro.sample("y", dist.StudentT(nu, a + b * x[:, 0], scale), obs=y)


def local_level(level):
    """A dynamic linear model: latent states by a scan, observed outside."""
    drift = numpyro.sample("drift", dist.HalfNormal(1))
    noise = numpyro.sample("noise", dist.HalfNormal(1))

    def step(state, _):
        state = numpyro.sample("state", dist.Normal(state, drift))
        return state, state

    _, states = scan(step, 0.0, None, length=len(level))
    with numpyro.plate("time", len(level)):
        numpyro.sample("obs", dist.Normal(states, noise), obs=level)


def shares(x, y=None):
    """Counts of three kinds in each row, overdispersed: a Dirichlet-multinomial."""
    a = numpyro.sample("a", dist.Normal(0, 1).expand([3]).to_event(1))
    numpyro.sample("y", dist.DirichletMultinomial(jnp.exp(a) * jnp.ones((len(x), 1)), total_count=12), obs=y)


def errors_in_variables(measured, error, y=None):
    """The input is itself measured with error; both are observed."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    with numpyro.plate("rows", len(measured)):
        true = numpyro.sample("true", dist.Normal(0, 1))
        numpyro.sample("measured", dist.Normal(true, error), obs=measured)
        numpyro.sample("y", dist.Normal(b * true, 0.3), obs=y)


def censored(dead, x, months=None):
    """Survival: a death adds its density, a patient alive the chance of living on; by a factor."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    a = numpyro.sample("a", dist.Normal(0, 1))
    law = dist.Weibull(jnp.exp(a + b * x[:, 0]), 1.5)
    numpyro.deterministic("f", law.mean)
    if months is not None:
        alive = jnp.log1p(-law.cdf(months))
        numpyro.factor("survival", jnp.where(dead, law.log_prob(months), alive))


def decay(t, amount=None):
    """A differential equation solved inside the model."""
    rate = numpyro.sample("rate", dist.LogNormal(0, 0.5))
    start = numpyro.sample("start", dist.LogNormal(0, 0.5))
    f = odeint(lambda z, _, k: -k * z, start, t, rate, rtol=1e-6, atol=1e-6)
    numpyro.sample("amount", dist.LogNormal(jnp.log(f), 0.1), obs=amount)


def spline(x, y=None, knots=4):
    """Piecewise linear splines with a random-walk prior."""
    tau = numpyro.sample("tau", dist.HalfNormal(1))
    steps = numpyro.sample("steps", dist.Normal(0, 1).expand([knots]).to_event(1))
    weights = tau * jnp.cumsum(steps)
    f = numpyro.deterministic("f", jnp.interp(x[:, 0], jnp.linspace(0, 1, knots), weights))
    numpyro.sample("y", dist.Normal(f, 0.3), obs=y)


def item_response(person, item, correct=None):
    """Two index columns, neither of them an input."""
    with numpyro.plate("persons", int(person.max()) + 1):
        ability = numpyro.sample("ability", dist.Normal(0, 1))
    with numpyro.plate("items", int(item.max()) + 1):
        difficulty = numpyro.sample("difficulty", dist.Normal(0, 1))
    with numpyro.plate("answers", len(person)):
        numpyro.sample("correct", dist.Bernoulli(logits=ability[person] - difficulty[item]), obs=correct)


def changepoint(year, disasters=None):
    """Two rates and the year between them, smoothed."""
    rate = numpyro.sample("rate", dist.Exponential(0.5).expand([2]).to_event(1))
    when = numpyro.sample("when", dist.Uniform(0, 1))
    late = expit((year - when) / 0.05)
    numpyro.sample("disasters", dist.Poisson(rate[0] * (1 - late) + rate[1] * late), obs=disasters)


def meta_analysis(se, effect=None):
    """One common effect, known errors: conjugate."""
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("effect", dist.Normal(mu, se), obs=effect)


def weights_dict(x, y=None, hidden=2):
    """A neural network whose weights stand in a dictionary."""
    sizes = {"w1": (x.shape[1], hidden), "b1": (hidden,), "w2": (hidden, 3)}
    p = {name: numpyro.sample(f"net/{name}", dist.Normal(jnp.zeros(s), 1.0)) for name, s in sizes.items()}
    logits = jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"]
    numpyro.sample("y", dist.Categorical(logits=logits), obs=y)


def two_outcomes(x, height=None, smoker=None):
    """Two targets of different kinds, one latent slope."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    numpyro.sample("height", dist.Normal(b * x[:, 0], 1.0), obs=height)
    numpyro.sample("smoker", dist.Bernoulli(logits=b * x[:, 0]), obs=smoker)
