"""The tables of the TOML of a run, each with its keys and the checks of them. No JAX here.

`base` has what tables are made of, `given`, `models` and `real` what [data] can be, `run` the rest.
"""
