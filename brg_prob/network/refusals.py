"""What cannot be read: each refusal is one line that names the site and the remedy."""

from __future__ import annotations

import numpy as np

from brg_prob.network.handlers import counted
from brg_prob.network.rows import NONE, Rows
from brg_prob.network.trace import ModelSites, Trace
from brg_prob.results import stored_name


def refuse_sight_of_gaps(rows: Rows, missing: np.ndarray) -> None:
    """Raise ValueError where what is missing would enter beside the terms that are left out."""
    if not missing.any():
        return
    gaps = f"{int(missing.sum())} target values are missing (NaN)"
    remedy = "fill them, or give the model what it needs of y as an argument of its own"
    if rows.prior:
        raise ValueError(f"{gaps}, and the prior depends on y; {remedy}")
    if aside := [name for name in rows.nan if name not in rows.factors]:
        raise ValueError(f"{gaps}, and factor {aside[0]!r} changes where they are NaN; {remedy}")


def refuse_unused(sites: ModelSites, rows: Rows, factors: tuple[str, ...]) -> None:
    """Raise ValueError where nothing depends on the target."""
    if not sites.observed and not factors:
        raise ValueError(
            "the model observes nothing: no site has obs=y and no factor changes with y; add "
            "numpyro.sample('y', …, obs=y)"
        )
    used = any(
        np.any(found.entries != NONE) or np.any(found.terms != NONE) or found.mixed
        for found in rows.sites.values()
    )
    if not used and not factors:
        names = ", ".join(repr(site.name) for site in sites.observed)
        raise ValueError(
            f"the target is not used: neither {names} nor a factor changes with y; pass it on (obs=y)"
        )


def refuse_masks(first: Trace, second: Trace, observed: np.ndarray) -> None:
    """Raise ValueError for a mask that follows the latent sites, or that leaves nothing."""
    for name, site in first.items():
        if site["type"] != "sample" or not site["is_observed"]:
            continue
        masks = [np.asarray(counted(trace[name]["fn"])) for trace in (first, second)]
        if masks[0].shape != masks[1].shape or np.any(masks[0] != masks[1]):
            raise ValueError(
                f"site {name!r} is masked otherwise at another draw of the latent sites, so there is no one "
                "number of observations; mask by the inputs, or weigh the terms (numpyro.factor)"
            )
    if not observed.any():
        raise ValueError("no row counts: the model masks every one that has a target")


def refuse_unknown(likelihood_factors: tuple[str, ...] | None, sites: ModelSites) -> None:
    """Raise ValueError for a factor that is none of the model's."""
    unknown = sorted(set(likelihood_factors or ()) - set(sites.factors))
    if unknown:
        known = ", ".join(sites.factors) or "none"
        raise ValueError(f"likelihood factor {unknown[0]!r} is no factor of the model; its factors: {known}")


def refuse_names(sites: ModelSites) -> None:
    """Raise ValueError for a name that no file and no table can show, or two that look alike there."""
    latent = [*sites.latent_names, *sites.deterministic]
    stored: dict[str, str] = {}
    for name in [*latent, *(site.name for site in sites.observed), *sites.factors]:
        if not name or not name.isprintable():
            raise ValueError(f"a site is called {name!r}; give it a name of printable characters")
    for name in latent:
        other = stored.setdefault(stored_name(name), name)
        if other != name:
            raise ValueError(
                f"sites {other!r} and {name!r} would both be stored as {stored_name(name)!r}; rename one"
            )


def refuse_discrete(sites: ModelSites) -> None:
    """Raise ValueError for the first discrete latent site."""
    for site in sites.latent:
        if site.discrete:
            raise ValueError(
                f"site {site.name!r} is discrete and latent, so it has no derivative; sum it out of the "
                "likelihood (for example with numpyro.distributions.MixtureSameFamily)"
            )
