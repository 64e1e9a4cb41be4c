"""Exact posterior of the field at one T, n = 2000, from the same kernel matrix."""

from __future__ import annotations

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from benchmarks.harness import Case, close
from brg_prob.posterior import gaussian_posterior


class _Given(Kernel):
    """A kernel that looks its matrix up by row numbers: both sides start from the same matrix."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix

    def __call__(self, x: np.ndarray, y: np.ndarray | None = None, eval_gradient: bool = False) -> np.ndarray:
        rows = x[:, 0].astype(int)
        return self.matrix[np.ix_(rows, rows if y is None else y[:, 0].astype(int))]

    def diag(self, x: np.ndarray) -> np.ndarray:
        """Return the diagonal."""
        return np.diag(self.matrix)[x[:, 0].astype(int)]

    def is_stationary(self) -> bool:
        """Say no."""
        return False


def prepare(small: bool) -> Case:
    """Return ours (one Cholesky factorisation) against scikit-learn's fit and predict."""
    n, m = (100, 20) if small else (2000, 200)
    points = np.linspace(0, 40, n + m)
    train = np.sort(np.random.default_rng(0).choice(n + m, n, replace=False))
    test = np.setdiff1d(np.arange(n + m), train)
    matrix = np.exp(-np.abs(points[:, None] - points[None, :])) / 2
    y = np.sin(points[train])[:, None]
    ridge = 0.25
    kernel, cross, prior = (matrix[np.ix_(a, b)] for a, b in ((train, train), (test, train), (test, test)))

    def ours() -> np.ndarray:
        mean, covariance = gaussian_posterior(kernel, cross, prior, y, ridge)
        return np.concatenate([np.asarray(mean).ravel(), np.asarray(covariance).ravel()])

    def peer() -> np.ndarray:
        # The look-up of the kernel matrix is part of scikit-learn's call; it is under 3 % of its time.
        model = GaussianProcessRegressor(_Given(matrix), alpha=ridge, optimizer=None, copy_X_train=False)
        mean, covariance = model.fit(train[:, None], y).predict(test[:, None], return_cov=True)
        return np.concatenate([np.ravel(mean), np.ravel(covariance)])

    return Case(
        ours,
        peer,
        close(1e-8),
        "scikit-learn GP",
        bar=1.0,
        memory_bar=2048,
        note="mean and covariance at 200 points",
    )
