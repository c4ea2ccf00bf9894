"""The six levels of fidelity: closed form, modes, layer modes, sleeping flow, matrix flow, optimiser."""
