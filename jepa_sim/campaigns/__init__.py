"""Sweeps on disk: a store, engines, progress and resuming. No numerics."""
