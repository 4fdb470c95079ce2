"""Programs, recipes and launchers. Every program imports this before torch, because OpenMP reads its settings then."""

import os

# Threads that spin while they wait slow two busy cores down several times; threads that sleep at once take longer to
# wake than a small operation lasts. Measured on two cores, a step of adventurer_nano at patch 2, two threads: asleep
# 65 ms, spinning about 0.2 ms first 38 ms (one thread: 48); with another busy process 75 and 109.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "4000")  # GNU's OpenMP, which torch's builds for Linux bring
