"""Measurements of `experiments/benchmark.py`, one subject per file. Every function returns tables to print."""
