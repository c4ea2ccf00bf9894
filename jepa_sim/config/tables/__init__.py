"""The tables of the TOML of a run. Each has its keys, their checks, and `build`. No JAX here.

`build` makes what the table names with `jepa_sim`'s public names, which load JAX when it is called.
A new data model, solver, objective or start is one entry in the registry of its family: `DATA`,
`SOLVERS`, `OBJECTIVES`, `STARTS`. Errors and `jepa-sim sweep --help` read the registries.
"""
