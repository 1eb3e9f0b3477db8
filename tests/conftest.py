"""The tests run on eight virtual CPU devices: what they check is exactness and sharding, not speed."""

import gc
import importlib.metadata
import importlib.util
import itertools
import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# In the environment, so that the processes that tests start compute on as many, to the same bits.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

# Most of a test's time goes into compiling programs that run once: the compiler's costly passes take longer than they save,
# and so does cutting a program for threads that compile its parts.
_QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
# The emitters of fused loops that were XLA's before compile in a fifth of the time. A flag that is not known ends the process: XLA
# 0.11 and later may not have this one, and libtpu, which reads the same variable, has not.
if importlib.metadata.version("jaxlib").startswith("0.10.") and importlib.util.find_spec("libtpu") is None:
    _QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_QUICK}"

# The pattern strategies are drawn by the fuzzers of the kernels too, and labelled texts are written for the configs, whose folders
# are collected first.
sys.path += [str(Path(__file__).parent / folder) for folder in ("patterns", "tasks")]


# Linux lets a process map some 65,000 regions of memory, and a compiled program takes several: beyond, compiling crashes.
_MAPS, _MOST_MAPS, _TESTS_BETWEEN = Path("/proc/self/maps"), 20_000, 10
_begun = itertools.count(1)


def pytest_runtest_setup():
    """Lets go of programs of earlier tests, of which gigabytes would gather."""
    if next(_begun) % _TESTS_BETWEEN or not _MAPS.exists():
        return
    if _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


def pytest_addoption(parser):
    """Another number for ``make fuzz FUZZ_SEED=number``."""
    parser.addoption("--fuzz-seed", type=int, default=0, help="draws other cases for the tests marked fuzz")


def pytest_collection_finish():
    """Traced programs are many small objects that live on: looking through them for garbage all the time is a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
