"""Notebooks with outputs, to download from the site. Their first cell installs jepa_sim."""

import json
import re
from pathlib import Path

EXTRAS = "demo"  # what the notebooks import, beside the core


def publish(executed: Path, target: Path, version: str) -> None:
    """Write the notebook that was run as `executed` to `target`, with the cell that installs.

    Raises ValueError where no cell has an output.
    """
    notebook = json.loads(executed.read_text(encoding="utf-8"))
    if not any(cell.get("outputs") for cell in notebook["cells"]):
        raise ValueError(f"{executed} must have outputs, but has none.")
    install = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {},
        "outputs": [],
        "source": [
            "# Installs jepa_sim where there is none, as on Colab.\n",
            "import importlib.util\n",
            "\n",
            'if importlib.util.find_spec("jepa_sim") is None:\n',
            f'    %pip install --quiet "jepa_sim[{EXTRAS}]=={version}"',
        ],
    }
    notebook["cells"].insert(0, install)
    target.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def links(name: str, place: str) -> str:
    """HTML: links to the notebook `name` beside its page, and to Colab, which reads it at `place`.

    place: owner/repository/blob/branch/folder on GitHub, which has the published notebooks; empty
    where they are not on GitHub.
    """
    found = [f'<a download href="{name}.ipynb">Download this notebook</a> (.ipynb, with outputs)']
    if place:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+/blob(/[\w.-]+)+", place):
            raise ValueError(f"{place!r} must be owner/repository/blob/branch/folder on GitHub.")
        colab = f"https://colab.research.google.com/github/{place}/{name}.ipynb"
        found.append(f'<a href="{colab}">Open in Colab</a>')
    return f'<p class="notebook-links">{" · ".join(found)}</p>'
