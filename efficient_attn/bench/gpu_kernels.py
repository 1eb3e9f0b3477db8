"""What the compilers make of the GPU kernels: registers, spills and matrix instructions. No GPU is needed.

Needs ``jax-cuda12-plugin``, ``jax-cuda12-pjrt`` and ``nvidia-cuda-nvcc-cu12``, whose ``ptxas`` counts the registers of a kernel.
"""

import dataclasses
import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from efficient_attn.bench.gpu_targets import TARGETS, Target
from efficient_attn.kernels import attend
from efficient_attn.patterns import Causal, Window

PATTERN = Causal() & Window(left=1023)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """One kernel of the gradient at a head size on a target."""

    kernel: str
    registers: int
    """Of a thread."""
    spilled: int
    """Bytes of a thread that are stored and loaded again, as instructions in the program."""
    instructions: str
    """How matrices are multiplied."""


def dump_to(folder: str) -> None:
    """Has XLA keep its programs; before its first."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder}".strip()


def missing() -> bool:
    """Whether the compilers are not installed."""
    return importlib.util.find_spec("jax_cuda12_plugin") is None or _ptxas() is None


def compile_for(target: Target, function: Callable, *arguments: jax.ShapeDtypeStruct) -> jax.stages.Compiled:
    """``function`` compiled for one GPU."""
    topology = topologies.get_topology_desc(platform="cuda", topology="1x1x1", target_config=target.description())
    whole = jax.sharding.SingleDeviceSharding(topology.devices[0])
    traced = jax.jit(function, in_shardings=whole, out_shardings=whole).trace(*arguments)
    return traced.lower(lowering_platforms=("cuda",)).compile()


def gradient(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, ...]:
    """All three kernels."""
    loss = lambda *given: jnp.square(  # noqa: E731
        attend(*given, PATTERN, implementation="pallas_gpu").astype(jnp.float32)
    ).sum()
    return jax.grad(loss, (0, 1, 2))(query, key, value)


def measure(folder: str, name: str, size: int) -> Iterator[Compiled]:
    """The kernels for a target and a head size, in bfloat16; ``folder`` is what ``dump_to`` was given."""
    before = set(Path(folder).glob("*.ptx"))
    compile_for(TARGETS[name], gradient, *[jax.ShapeDtypeStruct((1, 4096, 8, size), jnp.bfloat16)] * 3)
    made = {}
    for path in set(Path(folder).glob("*.ptx")) - before:
        text = path.read_text()
        if entry := re.search(r"\.entry (attention_\w+)", text):
            made[entry[1]] = path, text
    for kernel in ("attention_forward", "attention_d_query", "attention_d_key_value"):
        yield _compiled(kernel, *made[kernel], TARGETS[name].architecture)


def _compiled(kernel: str, path: Path, text: str, architecture: str) -> Compiled:
    with tempfile.NamedTemporaryFile() as binary:
        command = [str(_ptxas()), "-v", f"-arch={architecture}", str(path), "-o", binary.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers = re.search(r"Used (\d+) registers", said)
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    if registers is None or spills is None:
        raise RuntimeError(f"ptxas does not say how many registers {kernel} has: {said}")
    instructions = [name for name in ("wgmma", "mma") if re.search(rf"\b{name}\.", text)]
    return Compiled(
        kernel, int(registers[1]), int(spills[1]) + int(spills[2]), instructions[0] if instructions else "none"
    )


def _ptxas() -> Path | None:
    found = importlib.util.find_spec("nvidia")
    roots = [] if found is None else [Path(root) for root in found.submodule_search_locations or ()]
    return next((path for root in roots for path in root.glob("*/bin/ptxas")), None)
