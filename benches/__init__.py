"""Benchmarks that anyone can run: `python -m benches`."""
