"""The levels of fidelity, from the closed form over the matrix flow to the discrete optimiser."""
