"""What `experiments/benchmark.py` can measure, one subject per file. Every function returns tables to print."""
