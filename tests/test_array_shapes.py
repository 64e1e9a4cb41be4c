"""Functions of arrays say which shapes they take and give, and in tests they are held to it."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.typing import ArrayLike
from jaxtyping import AbstractArray, Float, TypeCheckError
from numpy.typing import NDArray

from brg_prob import arrays, correlators, erg, interactions, kernels, spectra
from brg_prob.activations import activation, gaussian_expectation
from brg_prob.correspondence.two_sample import energy_distance
from brg_prob.geometry.contraction import contraction
from brg_prob.geometry.eigen import exact_diagonal
from brg_prob.geometry.jacobian import ScoreJacobian
from brg_prob.geometry.lanczos import Operator
from brg_prob.geometry.transport import to_standard_normal
from brg_prob.geometry.vectors import vector_maps

OPTIONS = dict(depth=1, activation="relu", weight_variance=1.0, bias_variance=0.0)
SIMPLEX = dist.Dirichlet(jnp.ones(3))
JACOBIAN = object.__new__(ScoreJacobian)  # refused before it is asked anything
WRONG = {
    "activations": ("c", lambda: activation("relu").dual(jnp.ones(2), jnp.ones(2), jnp.ones(3))),
    "arrays": ("p_values", lambda: arrays.holm(np.ones((2, 2)))),
    "correlators": ("f", lambda: correlators.two_point(np.ones((9, 2)))),
    "correspondence.two_sample": (
        "second",
        lambda: energy_distance(np.ones((9, 2)), np.ones((9, 3)), key=jax.random.key(0)),
    ),
    "erg": ("data_mass_squared", lambda: erg.propagator(np.ones(2), np.ones(3))),
    "geometry.contraction": ("z", lambda: contraction(np.ones((9, 2)))),
    "geometry.eigen": ("points", lambda: exact_diagonal(JACOBIAN, jnp.ones(3))),
    "geometry.lanczos": ("points", lambda: Operator(JACOBIAN, jnp.ones(3))),
    "geometry.transport": ("value", lambda: to_standard_normal(dist.Normal(), jnp.ones(3) * 1j)),
    "geometry.vectors": ("value", lambda: vector_maps(SIMPLEX).score(SIMPLEX, jnp.asarray(0.5))),
    "interactions": ("covariance", lambda: interactions.neuron_four_point(np.eye(4), "relu")),
    "kernels": ("x2", lambda: kernels.nngp_kernel(np.ones((4, 2)), np.ones((4, 3)), **OPTIONS)),
    "spectra": ("momenta", lambda: spectra.plane_waves(np.ones((4, 1)), np.ones((3, 2)), 1.0)),
}


# --- the checks bite ---------------------------------------------------------------------------------


@pytest.mark.parametrize("room", WRONG)
def test_a_wrong_shape_is_refused(room):
    parameter, call = WRONG[room]
    with pytest.raises(TypeCheckError, match=f"typechecking parameter '{parameter}'") as caught:
        call()
    assert f"brg_prob.{room}" in str(caught.value)


def test_every_room_has_its_control(array_rooms):
    assert [f"brg_prob.{room}" for room in WRONG] == sorted(array_rooms)


def test_a_wrong_result_is_refused():
    with pytest.raises(TypeCheckError, match=r"return value of brg_prob\.activations\.quadrature"):
        gaussian_expectation(lambda z: jnp.stack([z, z]), jnp.ones(3))


def test_numbers_integers_and_single_precision_are_as_welcome_as_before():
    relu = activation("relu")
    for one in (1, 1.0, np.float32(1), np.int64(1), np.ones(1, np.float32), jnp.ones(1, int)):
        assert relu.dual(one, one, one) == 0.5
        assert erg.propagator(one, one) == 0.5
        assert erg.callan_symanzik(one, one) == 0.5
    inputs = np.arange(4, dtype=np.int32)[:, None]
    np.testing.assert_array_equal(
        kernels.nngp_kernel(inputs, **OPTIONS), kernels.nngp_kernel(inputs.tolist(), **OPTIONS)
    )
    single = kernels.nngp_kernel(inputs.astype(np.float32), **OPTIONS)
    assert single.dtype == np.float32


def test_outside_of_the_tests_nothing_is_checked():
    """The library needs neither beartype nor the checks."""
    program = """
import sys
import numpy as np
from brg_prob.arrays import holm
from brg_prob import erg
try:
    erg.propagator(np.ones(2), np.ones(3))
except ValueError:
    print(*holm(np.array([0.2, 0.5])), "beartype" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0.4 0.5 False\n"


# --- every function says its shapes ------------------------------------------------------------------


def parts(annotation):
    """Yield an annotation and all that it is made of."""
    yield annotation
    if isinstance(annotation, typing.TypeAliasType):
        yield from parts(annotation.__value__)
    if isinstance(annotation, list):  # the arguments of a Callable
        inner = annotation
    else:
        inner = [typing.get_origin(annotation), *typing.get_args(annotation)]
    for part in inner:
        if part is not None:
            yield from parts(part)


def shapeless(annotation):
    """Return whether an array in an annotation has no shape."""
    return any(part is jax.Array or part is np.ndarray for part in parts(annotation))


def shaped(annotation):
    """Return whether an annotation has an array with its shape."""
    return any(inspect.isclass(part) and issubclass(part, AbstractArray) for part in parts(annotation))


def test_an_array_without_a_shape_is_seen():
    alias = Float[jax.Array, "*#pairs"]
    for wrong in (jax.Array, ArrayLike, np.ndarray | None, NDArray[np.float64], list[jax.Array]):
        assert shapeless(wrong) and not shaped(wrong)
    assert shapeless(typing.Callable[[jax.Array], alias])
    for right in (alias, Float[ArrayLike, "n d"] | None, tuple[alias, float], Float[np.ndarray, ""]):
        assert shaped(right) and not shapeless(right)
    assert shaped(typing.Callable[[alias], float]) and not shapeless(typing.Callable[[alias], float])


def modules(rooms):
    """Yield the modules of the rooms."""
    for room in rooms:
        module = importlib.import_module(room)
        yield module
        for inner in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{room}."):
            yield importlib.import_module(inner.name)


def public(module):
    """Yield name and annotations of public functions, methods and fields that a module defines."""
    own = [
        (name, thing)
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]
    for name, thing in own:
        if not inspect.isclass(thing):
            if callable(thing) and hasattr(inspect.unwrap(thing), "__code__"):
                yield f"{module.__name__}.{name}", typing.get_type_hints(inspect.unwrap(thing))
            continue
        yield f"{module.__name__}.{name}", typing.get_type_hints(thing)
        for method, found in vars(thing).items():
            function = getattr(found, "fget", None) or getattr(found, "func", found)
            spoken = not method.startswith("_") or method in ("__init__", "__call__")
            if spoken and inspect.isfunction(function):
                hints = typing.get_type_hints(inspect.unwrap(function))
                yield f"{module.__name__}.{name}.{method}", hints


def test_functions_and_methods_are_found():
    module = types.ModuleType("attic")
    code = (
        "import jax\ndef f(x: jax.Array): ...\nclass A:\n    def g(self) -> jax.Array: ...\n    y: jax.Array"
    )
    exec(code, vars(module))
    names = {name for name, hints in public(module) if any(map(shapeless, hints.values()))}
    assert names == {"attic.f", "attic.A", "attic.A.g"}


def test_every_public_function_of_an_array_says_its_shape(array_rooms):
    found, with_shapes = {}, set()
    for module in modules(array_rooms):
        for name, hints in public(module):
            found |= {f"{name}: {key}": hint for key, hint in hints.items() if shapeless(hint)}
            if any(map(shaped, hints.values())):
                with_shapes.add(name)
    assert found == {}
    for room in set(array_rooms) - {"brg_prob.geometry.vectors"}:  # whose one public function takes no array
        assert any(name.startswith(room) for name in with_shapes), room
