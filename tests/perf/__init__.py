"""The benchmarks: programs, not tests. `python -m perf` runs them; `./run bench` does that for you."""
