"""The text of `jepa-sim sweep --help`: an example, and every key that a configuration can have.

Keys, names and defaults are read from the tables of `jepa_sim.config`, so that they cannot differ.
"""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, get_args, get_origin

from jepa_sim.config import Config
from jepa_sim.config.faults import shown
from jepa_sim.config.reading import names_of, wanted_at, wanted_of
from jepa_sim.config.tables.base import OneOf, OneTable, Table

EXAMPLE = """\
an example of CONFIG.toml:

  [data]
  kind = "features"                 # or another, see below
  lam = [1.0, 1.0, 0.5]             # covariance λ of each feature
  rho = [0.9, 0.3, 0.8]             # its regression coefficient ρ

  [grid]
  objective = ["jepa", "mae"]
  depth = [1, 2, 3, 5]              # encoder layers L
  predictor_depth = [1]             # predictor layers M
  scale = [1e-3, 1e-4]              # encoder gain ε at the start
  seed = [0]                        # for random starts; or { stop = 32 }

  [solve]
  solver = "closed_form"            # or another, see below
  times = { kind = "critical", count = 200 }
  # `last = 2.0`, the default, ends a run at twice its last critical time; or
  # times = { kind = "log", start = 1.0, stop = 1e6, count = 200 }

  [output]
  path = "runs/first.nc"            # a NetCDF file; see below for a folder
  critical_fraction = [0.5, 0.9]

Paths are relative to the folder that the command runs in. A `path` without
suffix is a folder, which is written block by block: use one for a large sweep."""
MOST_COLUMNS = 98
NO_BREAK = "\N{NO-BREAK SPACE}"
COLUMN = 30  # of a name, before what is said of it


def columns() -> int:
    """As wide as the terminal or as COLUMNS says, less two as argparse leaves, but at most 98."""
    return min(shutil.get_terminal_size().columns - 2, MOST_COLUMNS)


def sweep_help() -> str:
    """The example, and then all keys, table by table."""
    lines = [
        EXAMPLE,
        "",
        "All keys. Those in brackets are optional; after = is the default:",
    ]
    for name in ("data", "grid", "solve", "output"):
        lines += ["", f"  [{name}]", *_described(wanted_at(Config, name), "    ")]
    return "\n".join(lines)


def _described(wanted: Any, indent: str, told: Sequence[str] = ()) -> Iterator[str]:
    """The keys of a table but those told of before.

    Of several tables: the keys of all of them, and then each one's name, meaning and keys.
    """
    if not isinstance(wanted, OneTable):
        yield from _keys(wanted, [name for name in wanted.model_fields if name not in told], indent)
        return
    told = (*told, wanted.chooser)
    tables = [wanted_of(kind) for kind in wanted.types.values()]
    if not any(isinstance(table, OneTable) for table in tables):
        first, *others = tables
        common = [
            name
            for name in first.model_fields
            if name not in told and all(name in table.model_fields for table in others)
        ]
        yield from _keys(first, common, indent)
        told = (*told, *common)
    for name, kind in wanted.types.items():
        about = (get_args(kind)[0] if get_origin(kind) is Annotated else kind).__doc__
        yield from _aligned(f"{wanted.chooser} = {shown(name)}", about.splitlines()[0], indent)
        yield from _described(wanted_of(kind), indent + "  ", told)


def _keys(table: type[Table], keys: Sequence[str], indent: str) -> Iterator[str]:
    """The keys of which there is more to say, a line each, and then the others."""
    about = {name: _about(table, name) for name in keys}
    for name in filter(about.get, keys):
        yield from _aligned(_key(table, name), about[name], indent)
    others = [_key(table, name) for name in keys if not about[name]]
    yield from _wrapped(", ".join(map(_whole, others)), indent, indent)


def _aligned(name: str, about: str, indent: str) -> Iterator[str]:
    yield from _wrapped(about, f"{indent}{name:{COLUMN}} ", indent + " " * (COLUMN + 1))


def _wrapped(text: str, first: str, others: str) -> Iterator[str]:
    wrap = textwrap.TextWrapper(columns(), first, others, break_on_hyphens=False)
    yield from (line.replace(NO_BREAK, " ") for line in wrap.wrap(text))


def _whole(text: str) -> str:
    """The text, not to be broken over two lines."""
    return text.replace(" ", NO_BREAK)


def _key(table: type[Table], name: str) -> str:
    field = table.model_fields[name]
    if field.is_required():
        return name
    return f"[{name}]" if field.default is None else f"[{name} = {shown(field.default)}]"


def _about(table: type[Table], name: str) -> str:
    """What a key is, the names or the tables that it can have; empty where there is no more."""
    wanted = wanted_at(table, name)
    if get_origin(wanted) is tuple:
        wanted = wanted_of(get_args(wanted)[0])
    if isinstance(wanted, OneTable):
        inline = (_inline(wanted.chooser, *each) for each in wanted.types.items())
        return " or ".join(map(_whole, inline))
    if not isinstance(wanted, OneOf) and names_of(wanted):
        return " or ".join(map(shown, names_of(wanted)))
    return table.model_fields[name].description or ""


def _inline(chooser: str, tag: str, table: type[Table]) -> str:
    keys = (_key(table, name) for name in table.model_fields if name != chooser)
    return f"{{ {', '.join([f'{chooser} = {shown(tag)}', *keys])} }}"
