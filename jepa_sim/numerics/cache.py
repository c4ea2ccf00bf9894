"""Compiled programs are kept on disk, so that another process need not compile them again.

JAX has such a cache. It needs settings of three packages to load these programs fast and without
false alarms. Two of the settings must be made before JAX is imported. `import jepa_sim` alone does
not import JAX.
"""

import os
import sys
import warnings
from pathlib import Path

# jaxlib reads this when it is imported. Without it, its CPU loader prints false alarms about every
# program that it loads.
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# equinox reads this when it is imported. Its default makes host callbacks, and JAX 0.9 cannot keep
# a program that has them.
_ON_ERROR = "EQX_ON_ERROR"


def keep_compiled(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Keep compiled programs in a folder, and load those that are already there.

    folder: None takes what JEPA_SIM_CACHE names (nothing is kept where that is empty), or else the
    user's cache folder. Returns the folder, or None where nothing is kept.

    Call it before JAX is imported: first in a script or notebook, after `import jepa_sim as js`.
    The command line calls it automatically. A second process then starts in about half the time;
    the rest is tracing. Several processes may share the folder; a program that one of them is just
    writing is compiled again. What would be an error inside a solver is then a NaN, as in sweeps.

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
    # a program that another process is just writing is compiled again, without a warning
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    return Path(folder)


def cache_folder() -> Path | None:
    """Where compiled programs are kept: JEPA_SIM_CACHE (empty: nowhere) or the user's cache."""
    import platformdirs

    named = os.environ.get("JEPA_SIM_CACHE")
    if named == "":
        return None
    return Path(named or platformdirs.user_cache_dir("jepa_sim", appauthor=False))
