"""What `experiments/benchmark.py` can measure, a subject a file; every function returns tables to print."""
