"""Settings under which small programs compile quickly, for the tests and for the documentation.

`compile_quickly()` must be called before JAX and Equinox are imported.
"""

import os
from importlib.metadata import version


def compile_quickly() -> None:
    """Set environment variables that have no value yet."""
    # Equinox's runtime errors are host callbacks, and some versions of JAX cannot cache programs
    # that have them. As NaN they can. Equinox reads this when it is imported.
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    # Else some versions of jaxlib print false alarms for every program from the cache.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Most of the time is tracing and compilation. With little work for LLVM and the older emitters
    # of loops a program compiles in half of the time. Other versions than these may not know the
    # flags, and would end the process.
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_parallel_codegen_split_count=1"
        if version("jaxlib").startswith("0.9.")
        else "--xla_backend_optimization_level=1",
    )
