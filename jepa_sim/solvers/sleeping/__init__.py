"""The matrix flow of the latents that still change; learned ones sleep until a takeover.

A saturated latent that carries almost nothing of the features that could displace it does not
affect the others, and is not affected by them. It is taken out of the matrices: it *sleeps*. Its
small shares of other features are followed in closed form, and it is put back before a takeover. No
saturated latent is left to make the flow stiff, so the cost grows as ln(1/ε).
"""
