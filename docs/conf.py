"""How the site is made: `make docs`."""

import os
import re
from importlib.metadata import version as installed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("EQX_ON_ERROR", "nan")

project = "jepa_sim"
author = "the authors of jepa_sim"
copyright = author
version = release = installed("jepa_sim")

root_doc = "docs/index"
include_patterns = ["docs/**.md", "notebooks/*.py", "CHANGELOG.md", "CONTRIBUTING.md"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
]

# notebooks are scripts with cells; they run when the site is made
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

default_role = "code"  # docstrings write `code` in single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "jepa_sim"


def _as_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text: stars and bars mean themselves, indented blocks are formulas."""
    found, inside = [], False
    for line in lines:
        formula = line.startswith("    ")
        if formula and not inside:
            found += ["::", ""]
        if line:
            inside = formula
        parts = re.split(r"(`[^`]*`)", line)
        parts[::2] = [re.sub(r"([*|_])", r"\\\1", part) for part in parts[::2]]
        found.append(line if formula else "".join(parts))
    lines[:] = found


def setup(app):
    app.connect("autodoc-process-docstring", _as_rst)
