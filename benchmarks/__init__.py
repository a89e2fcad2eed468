"""Benchmarks: a synthetic log of any size, a way to measure commands, and one file per question."""
