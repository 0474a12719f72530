"""Benchmarks: seeded workloads, medians and spread, ratios within one run."""
