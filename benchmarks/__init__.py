"""Benchmarks: the time and error of jepa_sim beside those of other packages (`make bench`)."""
