"""What the TPU compiler makes of the kernels, without a TPU: instruction bundles of each part, and the rate they allow.

libtpu compiles for a chip that is not there and writes the final schedule down. A bundle is what one cycle issues, so bundles
times the number of times they run, counted from the lists of work, are a lower bound of the cycles: it knows no stall and no
wait for memory. A block cannot take less than its products take on the matrix unit either.
"""

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from efficient_attn.kernels.pallas_tpu.work import FULL, PARTIAL, Word, launches
from efficient_attn.patterns.expression import parse
from efficient_attn.planning.chips import ENVIRONMENT

# v5e: 197 TFLOP/s in bfloat16 at 1.5 GHz, from Google's description of the chip; four matrix units of 128 x 128.
_FLOPS_PER_CYCLE = 4 * 128 * 128 * 2
# Products of a block of each kernel, and whether its lines are columns of keys.
KERNELS = {"attention_forward": (2, False), "attention_d_query": (3, False), "attention_d_key_value": (4, True)}
# Parts of a kernel shorter than this are counted with the turn of the loop.
_SHORTEST_PART = 64


@dataclasses.dataclass(frozen=True)
class Case:
    """One head of size 128 in bfloat16."""

    pattern: str
    length: int = 8192
    block: int = 512
    size: int = 128


@dataclasses.dataclass(frozen=True)
class Bundles:
    """Bundles of the parts of one kernel."""

    begin: int
    """Once a line."""
    full: int
    """Once a full block."""
    partial: int
    """Once a partial block."""
    finish: int
    """Once a line; 0 where it is short and counted in ``turn``."""
    turn: int
    """Once a step of the grid, beside these."""

    def rate(self, case: Case, kernel: str) -> float:
        """Share of the matrix unit's peak that the kernel's live blocks reach at best, by counting bundles."""
        return self._counted(case, kernel)[1]

    def cycles(self, case: Case, kernel: str) -> float:
        """Cycles that the kernel takes at least, by counting bundles."""
        return self._counted(case, kernel)[0]

    def _counted(self, case: Case, kernel: str) -> tuple[float, float]:
        products, by_key = KERNELS[kernel]
        (launch,) = launches(parse(case.pattern), 1, case.length, case.length, case.block, by_key)
        word = Word(launch.words.reshape(-1))
        full, partial, lines = (int(np.count_nonzero(x)) for x in (word.kind == FULL, word.kind == PARTIAL, word.first))
        ideal = products * 2 * case.block**2 * case.size / _FLOPS_PER_CYCLE
        cycles = full * max(self.full, ideal) + partial * max(self.partial, ideal)
        cycles += lines * (self.begin + self.finish) + word.kind.size * self.turn
        return float(cycles), (full + partial) * ideal / cycles


def measure(case: Case) -> Iterator[tuple[str, Bundles]]:
    """Compiles forward and backward for v5e, in a process of its own since libtpu reads its options once."""
    with tempfile.TemporaryDirectory() as folder:
        options = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
        command = [sys.executable, "-m", __name__, *map(str, dataclasses.astuple(case))]
        environment = os.environ | ENVIRONMENT | {"JAX_PLATFORMS": "cpu", "LIBTPU_INIT_ARGS": options}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the TPU compiler ended with {done.returncode}: {done.stderr[-2000:]}")
        for kernel in KERNELS:
            (schedule,) = (p for p in Path(folder).glob(f"*{kernel}*-final_bundles.txt") if "schedule" not in p.name)
            yield kernel, parts(schedule.read_text())


def parts(schedule: str) -> Bundles:
    """The parts of a kernel in its final schedule: the innermost regions that are long, in the order of the code."""
    regions, starts, address = [], {}, 0
    for line in schedule.splitlines():
        if found := re.match(r"\s*(0x[0-9a-f]+|0)\s", line):
            address = int(found.group(1), 16)
        for edge, number in re.findall(r"(Start|End) region (\d+)", line):
            if edge == "Start":
                starts[number] = address
            elif number in starts:
                regions.append((starts[number], address + 1))
    long = sorted((a, b) for a, b in regions if b - a >= _SHORTEST_PART)
    inner = [(a, b) for a, b in long if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in long)]
    sizes = [b - a for a, b in inner]
    if len(sizes) not in (2, 3, 4):
        raise RuntimeError(f"expected 2 to 4 parts of at least {_SHORTEST_PART} bundles in a kernel, found {sizes}")
    loop = max(b - a for a, b in long)
    if len(sizes) == 2:
        # Small blocks begin and finish in so few that both are counted with the turn.
        sizes = [0, *sizes]
    return Bundles(*sizes[:3], sizes[3] if len(sizes) == 4 else 0, loop - sum(sizes))


def _compile(case: Case) -> None:
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies

    from efficient_attn.kernels.pallas_tpu.attention import attend_blocks
    from efficient_attn.kernels.pallas_tpu.operands import Shape
    from efficient_attn.kernels.problem import Settings

    settings = Settings(parse(case.pattern), case.size**-0.5, None, 0.0)
    shape = Shape(settings, 1, 1, case.length, case.length, case.block)

    def both(query, key, value, d_output):
        call = lambda q, k, v: attend_blocks(shape, {"query": q, "key": k, "value": v}, jnp.zeros(3, jnp.int32))[0]  # noqa: E731
        output, pull = jax.vjp(call, query, key, value)
        return output, pull(d_output)

    device = topologies.get_topology_desc("v5e:2x2", platform="tpu").devices[0]
    mesh = jax.sharding.Mesh(np.array([device]), ("chip",))
    given = [jax.ShapeDtypeStruct((1, 1, case.length, case.size), jnp.bfloat16)] * 4
    with jax.set_mesh(mesh):
        whole = jax.NamedSharding(mesh, jax.P())
        jax.jit(both, in_shardings=whole, out_shardings=whole).lower(*given).compile()


if __name__ == "__main__":
    pattern, *numbers = sys.argv[1:]
    _compile(Case(pattern, *map(int, numbers)))
