"""Many problems at once: a grid, its lanes, one compiled program, a labelled dataset."""
