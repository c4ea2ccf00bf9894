"""The four levels of fidelity: closed form, reduced modes, matrix flow, discrete optimiser."""
