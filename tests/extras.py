"""What needs an extra: the extra, its module, and a call or a command that fails without it.

`test_packaging.py` hides each module in turn. `wheel.py` calls all where no extra is installed.
"""

import jepa_sim as js
from jepa_sim import explore, plot

CALLS = [
    ("plot", "matplotlib", lambda: plot.panels(1, 1, (1.0, 1.0))),
    ("images", "sklearn", js.data.sample_photographs),
    ("images", "sklearn", js.data.Digits),
    ("images", "PIL", js.data.sample_photographs),
    ("images", "PIL", lambda: js.data.read_photograph("photograph.png")),
    ("series", "statsmodels", js.data.elnino),
    ("series", "statsmodels", js.data.sunspots),
    ("dask", "distributed", js.Dask),
    ("explore", "ipywidgets", explore.sliders),
]
COMMANDS = [
    ("demo", "matplotlib", "demo"),
    ("demo", "sklearn", "demo"),
    ("demo", "PIL", "demo"),
    ("explore", "nicegui", "explore --no-browser"),
    ("explore", "starlette", "explore --no-browser"),
    ("explore", "matplotlib", "explore --no-browser"),
    ("dask", "distributed", "sweep run.toml --engine dask"),
    ("parquet", "pyarrow", "export run run.parquet"),
]
SWEEP = """
[data]
kind = "features"
lam = [1.0, 1.0]
rho = [0.9, 0.3]
[grid]
depth = [1, 2]
scale = [1e-2]
[solve]
solver = "closed_form"
times = { kind = "critical", count = 4 }
[output]
path = "run"
"""


def message(extra: str, module: str) -> str:
    """How the error of a missing module ends."""
    package = {"PIL": "pillow", "sklearn": "scikit-learn"}.get(module, module)
    return f" needs the package {package}: `pip install 'jepa_sim[{extra}]'`."
