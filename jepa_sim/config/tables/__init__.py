"""The tables of the TOML of a run. Each has its keys, their checks, and `build`.

Importing them does not load JAX.

`build` makes what the table names with `jepa_sim`'s public names, which load JAX when it is called.
A new data model is one table in `models`, a new solver one in `solvers`. A new objective or start
is one entry in `OBJECTIVES` or `STARTS`. Errors and `jepa-sim sweep --help` read these.
"""
