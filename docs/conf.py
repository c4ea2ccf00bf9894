"""How the site is made: `make docs`."""

import inspect
import os
import re
import sys
from pathlib import Path

from docutils.nodes import Element, SkipNode
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from docutils.utils.math.latex2mathml import tex2mathml

import jepa_sim

sys.path.insert(0, str(Path(__file__).parents[1]))
from docs.published import links, publish
from tests.compiler import compile_quickly

compile_quickly()
# The notebooks run programs, and do not check annotations.
os.environ.setdefault("JAXTYPING_DISABLE", "1")

project = "jepa_sim"
author = "the authors of jepa_sim"
copyright = author
version = release = jepa_sim.__version__

root_doc = "docs/index"
include_patterns = ["docs/**.md", "notebooks/*.py", "CHANGELOG.md", "CONTRIBUTING.md"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
]

# notebooks are scripts with cells; they run when the site is made
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

html_math_renderer = "mathml"  # by docutils, which needs neither LaTeX nor another site
default_role = "code"  # docstrings write `code` in single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_static_path = html_css_files = ["site.css"]
highlight_language = "none"  # of blocks that name no language, such as shells and outputs
html_title = f"jepa_sim {version}"


def _sections():
    """Public name → title of the section of concepts.md that has its formula and test."""
    found, title = {}, ""
    for line in (Path(__file__).parent / "concepts.md").read_text(encoding="utf-8").splitlines():
        title = line.removeprefix("## ") if line.startswith("## ") else title
        for name in re.findall(r"\{py:\w+\}`jepa_sim\.(\w+)`", line):
            found.setdefault(name, title)
    return found


SECTIONS = _sections()


def _as_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text: stars and bars mean themselves, indented blocks are formulas.

    Below stands where the concepts have the formula and the test.
    """
    text = "\n".join(lines).strip("\n")
    found = [_paragraph(paragraph) for paragraph in text.split("\n\n")]
    title = SECTIONS.get(name.removeprefix("jepa_sim."))
    if title is not None:
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        found.append(f"Formula and test: `{title} <concepts.html#{anchor}>`__.")
    lines[:] = [*"\n\n".join(found).splitlines(), ""]


def _paragraph(text):
    if text.startswith(">>>"):  # an example
        return text
    if text.startswith("    "):  # a formula
        return f"::\n\n{text}"
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([*|_])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


# What annotations are called where they are written.
ALIASES = (
    (r"~?[\w.]*jax\.Array \| .*?TypedNdArray(?: \| ~?collections\.abc\.Sequence)?", "ArrayLike"),
    (r"~?jaxtyping\.(\w+)\[~?(?:jaxlib\._jax|jax|numpy)\.(\w+), ", r"\1[\2, "),
    (r"~?collections\.abc\.", ""),
)


def _as_written(app, what, name, obj, options, signature, result):
    def shorter(text):
        for pattern, alias in ALIASES:
            text = text and re.sub(pattern, alias, text)
        return text

    return shorter(signature), shorter(result)


def _tex(node):
    """Bars and dots as overlines: accents cross their letters without a font for mathematics."""
    text = node.astext().replace(r"\bar", r"\overline")
    return re.sub(r"\\dot\s*(\\?\w+)", r"\\overset{.}{\1}", text)


def _inline_math(writer, node):
    writer.body.append(tex2mathml(_tex(node)))
    raise SkipNode


def _block_math(writer, node):
    writer.body.append(f"<p>{tex2mathml(_tex(node), as_block=True)}</p>")
    raise SkipNode


class Public(Directive):
    """`.. public:: model.starts model.state`: all public names that these folders and files define.

    A new public name so stands in the reference without being written there.
    """

    required_arguments, final_argument_whitespace = 1, True

    def run(self):
        found = Element()
        self.state.nested_parse(StringList(list(self.lines()), "public"), 0, found)
        return found.children

    def lines(self):
        for place in self.arguments[0].split():
            for name, home in jepa_sim._HOMES.items():
                thing = getattr(jepa_sim, name)
                if f"{home}.".startswith(f".{place}.") and not inspect.ismodule(thing):
                    is_class = inspect.isclass(thing)
                    yield f".. auto{'class' if is_class else 'function'}:: jepa_sim.{name}"
                    yield from ("   :members:", "") if is_class else ("",)


# Where the notebooks of this version are on GitHub, for Colab: owner/repository/blob/branch/folder.
COLAB = os.environ.get("NOTEBOOKS_ON_GITHUB", "")


def _link(app, page, template, context, doctree):
    folder, _, name = page.rpartition("/")
    if folder == "notebooks":
        context["body"] = context["body"].replace("</h1>", "</h1>" + links(name, COLAB), 1)


def _publish(app, failed):
    if failed is None and app.builder.name == "html":
        for page in app.env.found_docs:
            if page.startswith("notebooks/"):
                # myst_nb keeps what it ran beside the site
                executed = Path(app.outdir).parent / "jupyter_execute" / f"{page}.ipynb"
                publish(executed, Path(app.outdir) / f"{page}.ipynb", version)


def setup(app):
    app.connect("html-page-context", _link)
    app.connect("build-finished", _publish)
    app.add_directive("public", Public)
    app.connect("autodoc-process-docstring", _as_rst)
    app.connect("autodoc-process-signature", _as_written)
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
