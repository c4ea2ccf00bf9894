"""Compiled programs kept on disk, so that another process need not compile them again.

JAX has such a cache; to be quick and quiet with these programs it needs settings of three packages,
two of which must be made before JAX is imported. `import jepa_sim` by itself does not import JAX.
"""

import os
import sys
import warnings
from pathlib import Path

# Read by jaxlib when it is imported: else its CPU loader prints false alarms on every kept program.
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Read by equinox when it is imported: with host callbacks JAX 0.9 cannot keep a solver's program.
_ON_ERROR = "EQX_ON_ERROR"


def keep_compiled(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Keep compiled programs in a folder, and take those from it that are there.

    folder: None takes what JEPA_SIM_CACHE names (nothing is kept where that is empty), or else the
    user's cache folder. Returns the folder, or None where nothing is kept.

    Call it before JAX is imported: first in a script or notebook, after `import jepa_sim as js`.
    The command line does so by itself. The second process then starts in about half the time: what
    is left is tracing. Several processes may share the folder; a program that one of them is just
    writing is compiled again. Values that would be errors inside a solver are NaN then, as in
    sweeps.

    Warns where JAX has been imported before: its CPU loader then prints pages of false alarms.
    """
    late = "jax" in sys.modules and os.environ.get(_LOG_LEVEL) != "3"
    os.environ.setdefault(_LOG_LEVEL, "3")
    os.environ.setdefault(_ON_ERROR, "nan")
    if folder is None:
        folder = cache_folder()
    if folder is None:
        return None
    if late:
        words = (
            "JAX was imported before `keep_compiled` was called: its CPU loader will print false"
        )
        warnings.warn(f"{words} alarms about machine features.", stacklevel=2)
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # what another process is just writing is compiled again, without a word
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    return Path(folder)


def cache_folder() -> Path | None:
    """Where compiled programs are kept: JEPA_SIM_CACHE (empty: nowhere) or the user's cache."""
    import platformdirs

    named = os.environ.get("JEPA_SIM_CACHE")
    if named == "":
        return None
    return Path(named or platformdirs.user_cache_dir("jepa_sim", appauthor=False))
