"""The matrix flow of what still moves: learned latents sleep until another feature takes them over.

A latent that is saturated, and nearly pure in the features that could displace it, neither feels
nor disturbs the others. It is taken out of the matrices, what it carries of other features is
followed in closed form, and it is put back before a takeover. No saturated latent is left to make
the flow stiff, so the cost grows as ln(1/ε).
"""
