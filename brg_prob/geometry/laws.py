"""Beta, Gamma and Student laws in z = Φ⁻¹(F(t; parameters)), with derivatives of any order in the parameters.

JAX's incomplete beta function has no derivative in a and b, its incomplete gamma function no second one in a,
and both lose digits at small parameters. Here F = ∫ p and ∂F/∂a = ∫ ∂p/∂a are integrals over the nearer tail
by double-exponential quadrature [Takahasi, Mori, doi:10.2977/prims/1195192451], the former in logarithms, to
a relative error of about 1e-12. A derivative is the integral of its integrand differentiated once more, so
that Hessians need nothing else.

Arguments t are real: the logit of a Beta variable, the logarithm of a Gamma variable, a Student variable
itself, so that both ends of a support keep their digits. In each the density falls on both sides of a
maximum, where the nearer tail changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.nn import log_sigmoid, sigmoid, softplus
from jax.scipy.special import digamma, gammaln
from jax.scipy.stats import norm

from brg_prob.geometry.normal import log_normal_cdf, normal_score

Parameters = tuple[Array, ...]
Nodes = tuple[tuple[Array, ...], Array]

_ENDS, _NODES = 4.5, 151
_EULER_MACLAURIN = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000)
_AT_ONCE = 1 << 14  # entries times nodes: 20 MB
_BISECTIONS = 34  # halve an interval of width 1400 to 1e-7; two steps of Newton's method do the rest


@dataclass(frozen=True)
class Law:
    """A law on the real line.

    Attributes
    ----------
    log_density
        (t, parameters) → log of the density of t.
    lower
        (t, parameters) → whether t lies below the maximum of its density.
    nodes
        (t, parameters) → statistics of quadrature nodes in the nearer tail and the logarithm of their
        weights, each with an axis of nodes last.
    log_node_density
        (statistics, parameters) → log of the density of t there.
    centred
        (t, z, parameters) → z with its leading digits where these are lost about a centre of symmetry.
    """

    log_density: Callable[[Array, Parameters], Array]
    lower: Callable[[Array, Parameters], Array]
    nodes: Callable[[Array, Parameters], Nodes]
    log_node_density: Callable[[tuple[Array, ...], Parameters], Array]
    centred: Callable[[Array, Array, Parameters], Array] | None = None


def law_score(law: Law, t: Any, *parameters: Any) -> Array:
    """Return z = Φ⁻¹(F(t)), entry by entry.

    Parameters
    ----------
    law
        One of :data:`BETA` (a, b), :data:`GAMMA` (a), :data:`STUDENT` (degrees of freedom).
    t, parameters
        Arrays that broadcast together.

    Examples
    --------
    >>> abs(float(law_score(BETA, 0.0, 2.0, 2.0))) < 1e-5
    True
    """
    return _in_batches(_score, law, t, *parameters)


def law_quantile(law: Law, z: Any, *parameters: Any) -> Array:
    """Return F⁻¹(Φ(z)), the inverse of :func:`law_score`."""
    return _in_batches(_quantile, law, z, *parameters)


def _in_batches(function: Callable[[Law, Array, Parameters], Array], law: Law, *values: Any) -> Array:
    """Return a function of arrays of one shape and one floating type, a limited number of entries at once."""
    arrays = [jnp.asarray(value) for value in values]
    kind = jnp.result_type(float, *arrays)
    first, *rest = (array.astype(kind) for array in jnp.broadcast_arrays(*arrays))
    if first.size <= _AT_ONCE:
        return function(law, first, tuple(rest))
    flat = [jnp.ravel(array) for array in (first, *rest)]
    one = jax.lax.map(lambda entry: function(law, entry[0], tuple(entry[1:])), flat, batch_size=_AT_ONCE)
    return one.reshape(first.shape)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _score(law: Law, t: Array, parameters: Parameters) -> Array:
    z = normal_score(*_tails(law, t, parameters))
    return z if law.centred is None else law.centred(t, z, parameters)


@partial(_score.defjvp, symbolic_zeros=True)
def _score_jvp(law: Law, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """φ(z) dz = p(t) dt + ∂F/∂a da."""
    (t, parameters), (t_dot, parameters_dot) = primals, tangents
    z = _score(law, t, parameters)
    change = jnp.zeros_like(z)
    if not isinstance(t_dot, SymbolicZero):
        change = t_dot * jnp.exp(law.log_density(t, parameters) - norm.logpdf(z))
    return z, change + _moved(law, t, z, parameters, parameters_dot)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _quantile(law: Law, z: Array, parameters: Parameters) -> Array:
    limit = 0.49 * jnp.log(jnp.finfo(z.dtype).max)  # squares of t are finite
    log_cdf, log_sf = log_normal_cdf(z), log_normal_cdf(-z)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        here_cdf, here_sf = _tails(law, jnp.sinh(middle), parameters)
        below = jnp.where(z < 0, here_cdf < log_cdf, here_sf > log_sf)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    ends = (jnp.full_like(z, -limit), jnp.full_like(z, limit))
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, ends)

    def correct(_: int, t: Array) -> Array:
        slope = jnp.exp(norm.logpdf(z) - law.log_density(t, parameters))
        step = slope * (normal_score(*_tails(law, t, parameters)) - z)
        return jnp.where(jnp.isfinite(step), t - step, t)

    return jax.lax.fori_loop(0, 2, correct, jnp.sinh((low + high) / 2))


@partial(_quantile.defjvp, symbolic_zeros=True)
def _quantile_jvp(law: Law, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """p(t) dt = φ(z) dz − ∂F/∂a da."""
    (z, parameters), (z_dot, parameters_dot) = primals, tangents
    t = _quantile(law, z, parameters)
    change = -_moved(law, t, z, parameters, parameters_dot)
    if not isinstance(z_dot, SymbolicZero):
        change += z_dot
    return t, change * jnp.exp(norm.logpdf(z) - law.log_density(t, parameters))


def _tails(law: Law, t: Array, parameters: Parameters) -> tuple[Array, Array]:
    """Return log F and log(1 − F), the smaller by quadrature."""
    statistics, log_weights = law.nodes(t, parameters)
    wide = tuple(value[..., None] for value in parameters)
    small = jax.nn.logsumexp(law.log_node_density(statistics, wide) + log_weights, axis=-1)
    large = jnp.log1p(-jnp.exp(jnp.minimum(small, 0)))
    lower = law.lower(t, parameters)
    return jnp.where(lower, small, large), jnp.where(lower, large, small)


def _moved(law: Law, t: Array, z: Array, parameters: Parameters, moved: Any) -> Array:
    """Return ∂F/∂a da/φ(z), summed over the parameters that move; no others are integrated."""
    total = jnp.zeros_like(z)
    for number, dot in enumerate(moved):
        if not isinstance(dot, SymbolicZero):
            total += dot * _integral(law, _unit(number, len(parameters)), t, parameters)
    largest = jnp.log(jnp.finfo(z.dtype).max) - 1
    return total * jnp.exp(jnp.minimum(-norm.logpdf(z), largest))


def _unit(number: int, count: int) -> tuple[int, ...]:
    return tuple(int(other == number) for other in range(count))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _integral(law: Law, orders: tuple[int, ...], t: Array, parameters: Parameters) -> Array:
    """Return ∫_{−∞}^t ∂^orders p, at least one derivative taken, so that the two tails are opposite."""
    statistics, log_weights = law.nodes(t, parameters)
    wide = tuple(value[..., None] + jnp.zeros_like(log_weights) for value in parameters)

    def weighted(*values: Array) -> Array:
        return jnp.exp(law.log_node_density(statistics, values) + log_weights)

    total = jnp.sum(_differentiated(weighted, orders)(*wide), axis=-1)
    return jnp.where(law.lower(t, parameters), total, -total)


@_integral.defjvp
def _integral_jvp(law: Law, orders: tuple[int, ...], primals: Any, tangents: Any) -> tuple[Array, Array]:
    """The boundary term in t; one more derivative in each parameter."""
    (t, parameters), (t_dot, parameters_dot) = primals, tangents
    density = _differentiated(lambda *values: jnp.exp(law.log_density(t, values)), orders)
    change = t_dot * density(*parameters)
    for number, dot in enumerate(parameters_dot):
        further = tuple(o + u for o, u in zip(orders, _unit(number, len(orders)), strict=True))
        change += dot * _integral(law, further, t, parameters)
    return _integral(law, orders, t, parameters), change


def _differentiated(function: Callable[..., Array], orders: tuple[int, ...]) -> Callable[..., Array]:
    """Return partial derivatives of an elementwise function."""

    def along(inner: Callable[..., Array], number: int) -> Callable[..., Array]:
        def derivative(*values: Array) -> Array:
            units = tuple(jnp.full_like(v, float(i == number)) for i, v in enumerate(values))
            return jax.jvp(inner, values, units)[1]

        return derivative

    for number, order in enumerate(orders):
        for _ in range(order):
            function = along(function, number)
    return function


def _half_line(scale: Array) -> tuple[Array, Array]:
    """Return nodes on (0, ∞) and log weights, (..., nodes): y = scale·exp(w − e^{−w})."""
    w = jnp.linspace(-_ENDS, _ENDS, _NODES, dtype=scale.dtype)
    log_y = w - jnp.exp(-w) + jnp.log(scale)[..., None]
    least = 0.5 * jnp.log(jnp.finfo(scale.dtype).tiny)  # in float32 the first nodes would be 0
    return jnp.exp(jnp.maximum(log_y, least)), log_y + jnp.log1p(jnp.exp(-w)) + jnp.log(
        2 * _ENDS / (_NODES - 1)
    )


def _log_gamma(x: Array) -> Array:
    """Return log Γ(x), x > 0."""
    return _polygamma(-1, x)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _polygamma(order: int, x: Array) -> Array:
    """Return the derivative of log Γ of order + 1.

    From the second on Hurwitz' zeta function by the formula of Euler and Maclaurin, relative error 1e-14;
    JAX's own takes seconds to compile.
    """
    if order == -1:
        return gammaln(x)
    if order == 0:
        return digamma(x)
    s, y = order + 1, x + 8
    near = jnp.sum((x[..., None] + jnp.arange(8.0, dtype=x.dtype)) ** -s, axis=-1)
    term, rest = s * y ** -(s + 1), y**-order / order + 0.5 * y**-s
    for number, coefficient in enumerate(_EULER_MACLAURIN):
        rest += coefficient * term
        term *= (s + 2 * number + 1) * (s + 2 * number + 2) / jnp.square(y)
    return (-1.0) ** s * math.factorial(order) * (near + rest)


@_polygamma.defjvp
def _polygamma_jvp(order: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _polygamma(order, primals[0]), tangents[0] * _polygamma(order + 1, primals[0])


def _log_beta(a: Array, b: Array) -> Array:
    """Return log B(a, b)."""
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)


def _beta_log_density(t: Array, parameters: Parameters) -> Array:
    return _beta_log_node_density((log_sigmoid(t), log_sigmoid(-t)), parameters)


def _beta_lower(t: Array, parameters: Parameters) -> Array:
    return t < jnp.log(parameters[0]) - jnp.log(parameters[1])


def _beta_nodes(t: Array, parameters: Parameters) -> Nodes:
    """Nodes x e^{−y}; the scale of y is that of a maximum at the end or of the exponential without one."""
    lower = _beta_lower(t, parameters)
    a, b = (jnp.where(lower, p, q) for p, q in (parameters, parameters[::-1]))
    t = jnp.where(lower, t, -t)[..., None]
    y, log_weights = _half_line((1 + jnp.sqrt(a * b / (a + b))) / a)
    inner = log_sigmoid(t) - y
    outer = jnp.log(sigmoid(-t) - sigmoid(t) * jnp.expm1(-y))
    side = lower[..., None]
    return (jnp.where(side, inner, outer), jnp.where(side, outer, inner)), log_weights - outer


def _beta_log_node_density(statistics: tuple[Array, ...], parameters: Parameters) -> Array:
    (log_x, log_rest), (a, b) = statistics, parameters
    return a * log_x + b * log_rest - _log_beta(a, b)


def _gamma_log_density(t: Array, parameters: Parameters) -> Array:
    return _gamma_log_node_density((t,), parameters)


def _gamma_lower(t: Array, parameters: Parameters) -> Array:
    return t < jnp.log(parameters[0])


def _gamma_nodes(t: Array, parameters: Parameters) -> Nodes:
    """Nodes x e^{−y} below, x + y above."""
    (a,) = parameters
    lower = _gamma_lower(t, parameters)[..., None]
    below, below_weights = _half_line((1 + jnp.sqrt(a)) / a)
    above, above_weights = _half_line(1 + jnp.sqrt(a))
    upper = jnp.log(jnp.exp(t)[..., None] + above)
    weights = jnp.where(lower, below_weights, above_weights - upper)
    return (jnp.where(lower, t[..., None] - below, upper),), weights


def _gamma_log_node_density(statistics: tuple[Array, ...], parameters: Parameters) -> Array:
    (log_x,), (a,) = statistics, parameters
    return a * log_x - jnp.exp(log_x) - _log_gamma(a)


def _student_log_density(t: Array, parameters: Parameters) -> Array:
    (df,) = parameters
    far = jnp.square(t) > df
    near = jnp.log1p(jnp.square(jnp.where(far, 0, t)) / df)
    growth = softplus(2 * jnp.log(jnp.where(far, jnp.abs(t), 1)) - jnp.log(df))
    return -0.5 * (df + 1) * jnp.where(far, growth, near) - _student_constant(df)


def _student_constant(df: Array) -> Array:
    """Return ½ log df + log B(½ df, ½), from the ratio of gamma functions by its series where df > 40."""
    a = 0.5 * jnp.maximum(df, 40)
    series = -0.5 * jnp.log(a) + (1 / 8 - (1 / 192 - (1 / 640 - 17 / 14336 / a**2) / a**2) / a**2) / a
    near = jnp.minimum(df, 40)
    small = _log_gamma(0.5 * near) - _log_gamma(0.5 * near + 0.5)
    return 0.5 * jnp.log(df) + 0.5 * math.log(math.pi) + jnp.where(df > 40, series, small)


def _student_lower(t: Array, parameters: Parameters) -> Array:
    return t < 0


def _student_nodes(t: Array, parameters: Parameters) -> Nodes:
    """Nodes s with df + s² = (df + t²) e^y: a power law is an exponential in y."""
    (df,) = parameters
    y, log_weights = _half_line((2 + jnp.sqrt(2 * df / (df + 1))) / df)
    largest = 0.1 * jnp.sqrt(jnp.finfo(t.dtype).max)  # beyond it a square overflows
    df, square = df[..., None], jnp.square(jnp.clip(t, -largest, largest))[..., None]
    log_square = y + jnp.log(square - df * jnp.expm1(-y))
    return (log_square,), log_weights + jnp.log(df + square) + y - 0.5 * log_square - math.log(2)


def _student_log_node_density(statistics: tuple[Array, ...], parameters: Parameters) -> Array:
    (log_square,), (df,) = statistics, parameters
    return -0.5 * (df + 1) * softplus(log_square - jnp.log(df)) - _student_constant(df)


def _student_centred(t: Array, z: Array, parameters: Parameters) -> Array:
    """Return z by its series in t near 0: Φ(z) − ½ and F(t) − ½ are both odd."""
    (df,) = parameters
    slope = jnp.exp(0.5 * math.log(2 * math.pi) - _student_constant(df))
    near = jnp.square(t) < 1e-10
    small = jnp.where(near, t, 0)
    return jnp.where(near, slope * small * (1 + jnp.square(small) * (slope**2 - (df + 1) / df) / 6), z)


BETA = Law(_beta_log_density, _beta_lower, _beta_nodes, _beta_log_node_density)
"""Logit of a Beta variable: parameters a, b."""

GAMMA = Law(_gamma_log_density, _gamma_lower, _gamma_nodes, _gamma_log_node_density)
"""Logarithm of a Gamma variable of unit rate: parameter a."""

STUDENT = Law(
    _student_log_density,
    _student_lower,
    _student_nodes,
    _student_log_node_density,
    centred=_student_centred,
)
"""Student variable of unit scale: degrees of freedom."""

__all__ = ["BETA", "GAMMA", "STUDENT", "Law", "law_quantile", "law_score"]
