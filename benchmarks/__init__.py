"""Benchmarks: ``python -m benchmarks [--small] [--only NAME] [--repeats N] [--out FILE]``."""
