"""The five levels of fidelity: closed form, modes, layer modes, matrix flow, discrete optimiser."""
