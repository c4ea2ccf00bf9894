"""Check a release: `make check-wheel` runs this where the wheel is installed and no extra is.

python tests/wheel.py FOLDER    # which has the wheel and the source distribution
"""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from extras import CALLS, COMMANDS, SWEEP

import jepa_sim as js

ROOT = Path(__file__).parents[1]


def check_contents(folder: Path) -> None:
    """The wheel has the package and its licence alone; what makes and tests it is in the other."""
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    assert wheel.name == f"jepa_sim-{js.__version__}-py3-none-any.whl"
    inside = zipfile.ZipFile(wheel).namelist()
    files = [path for path in (ROOT / "jepa_sim").rglob("*.*") if path.suffix != ".pyc"]
    package = {str(path.relative_to(ROOT)) for path in files}
    assert {"jepa_sim/py.typed", "jepa_sim/numerics/stabilised/rock4.npz"} <= package
    info = f"jepa_sim-{js.__version__}.dist-info"
    about = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    assert set(inside) == package | about | {f"{info}/licenses/LICENSE"}, sorted(inside)
    metadata = zipfile.ZipFile(wheel).read(f"{info}/METADATA").decode()
    assert metadata.endswith((ROOT / "README.md").read_text(encoding="utf-8"))

    with tarfile.open(source) as archive:
        inside = [name.partition("/")[2] for name in archive.getnames()]
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile", "pyproject.toml"}
    wanted |= {"tests/wheel.py", "docs/conf.py", "notebooks/why.py", "benchmarks/trust.py"}
    assert wanted | package <= set(inside), sorted(wanted | package - set(inside))
    assert not [name for name in inside if re.search(r"__pycache__|\.pyc$|^runs/|\.venv", name)]


def check_readme() -> None:
    """The first example prints what stands below it as a comment."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert block
    said = "".join(re.findall(r"^# (.*\n)", block[1], re.MULTILINE))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(block[1], {})
    assert printed.getvalue() == said, printed.getvalue()


def check_extras() -> None:
    """What needs an extra says which, in one line; a sweep works without any."""
    for extra, module, call in CALLS:
        try:
            call()
        except ImportError as error:
            check_message(str(error), extra)
        else:
            raise AssertionError(f"{module} is installed")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("run.toml").write_text(SWEEP)
        assert run("sweep run.toml").returncode == 0
        assert run("show run").returncode == 0
        for extra, _, command in COMMANDS:
            done = run(command)
            assert done.returncode == 2, (command, done)
            check_message(done.stderr, extra)


def check_message(words: str, extra: str) -> None:
    words = words.strip()
    assert words.endswith(f": `pip install 'jepa_sim[{extra}]'`."), words
    assert "\n" not in words, words
    print("   ", words)


def run(command: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("jepa-sim")
    return subprocess.run([script, *command.split()], capture_output=True, text=True)


if __name__ == "__main__":
    assert not Path(js.__file__).is_relative_to(ROOT / "jepa_sim"), "this is not the wheel"
    for module in ("matplotlib", "dask", "pytest"):
        assert importlib.util.find_spec(module) is None, f"{module} is installed"
    os.environ["COLUMNS"] = "100"
    check_contents(Path(sys.argv[1]))
    check_readme()
    check_extras()
    print("The wheel and the source distribution are as they must be.")
