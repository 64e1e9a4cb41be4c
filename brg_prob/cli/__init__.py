"""The command line: what is asked is parsed and checked here, before jax is imported, then done and shown."""

from brg_prob.cli.dispatch import main

__all__ = ["main"]
