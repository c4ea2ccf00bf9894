"""Benchmarks: our time beside that of the usual ways, each with its error; see `make bench`."""
