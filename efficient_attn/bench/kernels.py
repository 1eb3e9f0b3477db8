"""The TPU kernels beside the best public ones, JAX's own splash attention and tokamax's, without a TPU.

What a mask costs to build, which steps of a grid compute something, what the compiler says of memory and of long sequences, and,
interpreted, what comes out where nothing may be seen and how near a gradient is. All run the same predicates.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from efficient_attn.kernels import attend
from efficient_attn.kernels.pallas_tpu.attention import attend_blocks
from efficient_attn.kernels.pallas_tpu.operands import Shape
from efficient_attn.kernels.pallas_tpu.work import FULL, PARTIAL, Word, launches
from efficient_attn.kernels.problem import Settings
from efficient_attn.patterns import Pattern, PerHead
from efficient_attn.patterns.block_mask import build_block_mask
from efficient_attn.patterns.expression import parse
from efficient_attn.patterns.layout import layout, pairs_in_live_blocks
from efficient_attn.planning.chips import topology
from efficient_attn.training.curve import figure_of

BLOCK, SIZE, HEADS = 512, 128, 8
LENGTH, LONGEST = 32_768, 1_048_576
WINDOW = "Causal() & Window(left=1023)"
BIG_BIRD = f"Window(left=511, right=511) | Global({list(range(64))})"
STRIDED = "Causal() & Strided(128)"

Kernel = Callable[[Float[Array, "N T H"], Float[Array, "N T H"], Float[Array, "N T H"]], Float[Array, "N T H"]]
"""Attention of queries, keys and values; a pytree, whose leaves are the lists of its mask."""


@dataclasses.dataclass(frozen=True)
class Work:
    """The forward pass of some heads over a pattern."""

    seconds: float
    """To build what the kernel needs of the mask, on one core."""
    steps: int
    """Of the grid, over all heads."""
    live: int
    """Of them, those that compute a block."""
    blocks: int
    """Live or not, over all heads."""


@runtime_checkable
class Subject(Protocol):
    """A set of kernels."""

    name: str

    def work(self, heads: Sequence[Pattern], length: int) -> Work | str:
        """Of one pattern a head, in blocks of ``BLOCK``; or why not."""
        ...

    def kernel(self, pattern: Pattern, length: int, heads: int, block: int) -> Kernel:
        """Attention of ``heads`` of one pattern in the kernel's own layout; scores are not scaled."""
        ...

    def causal(self, length: int) -> Kernel:
        """The shape of a causal kernel of one head, in blocks of ``BLOCK``."""
        ...


class Ours:
    """The kernels of this library."""

    name = "efficient_attn"

    def work(self, heads: Sequence[Pattern], length: int) -> Work:
        """Of one pattern a head, in blocks of ``BLOCK``."""
        pattern = heads[0] if len(set(heads)) == 1 else PerHead(list(heads))
        for cached in (launches, build_block_mask):
            cached.cache_clear()
        start = time.process_time()
        lists = launches(pattern, len(heads), length, length, BLOCK, by_key=False)
        seconds = time.process_time() - start
        steps, live = np.zeros(2, np.int64)
        for own in lists:
            kinds = Word(own.words.reshape(-1)).kind
            steps += kinds.size * len(own.heads)
            live += int(np.isin(kinds, (FULL, PARTIAL)).sum()) * len(own.heads)
        return Work(seconds, int(steps), int(live), (length // BLOCK) ** 2 * len(heads))

    def kernel(self, pattern: Pattern, length: int, heads: int, block: int) -> Kernel:
        """Attention of ``heads`` of one pattern in the kernel's own layout; scores are not scaled."""
        shape = Shape(Settings(pattern, 1.0, None, 0.0), heads, 1, length, length, block)
        numbers = jnp.zeros(1 + 1 + heads, jnp.int32)

        def attention(query: Any, key: Any, value: Any) -> Any:
            return attend_blocks(shape, {"query": query[None], "key": key[None], "value": value[None]}, numbers)[0][0]

        return jax.tree_util.Partial(attention)

    def causal(self, length: int) -> Kernel:
        """The kernel itself: its lists are constants of the program."""
        return self.kernel(parse("Causal()"), length, 1, BLOCK)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}"


def mask_seconds(subject: Subject, length: int = LENGTH) -> float | str:
    """Seconds to build the mask of a window."""
    found = subject.work([parse(WINDOW)], length)
    return found if isinstance(found, str) else found.seconds


def _useful(subject: Subject, heads: Sequence[str]) -> str:
    found = subject.work([parse(x) for x in heads], LENGTH)
    return found if isinstance(found, str) else f"{found.live / found.steps:.1%} of {found.steps:,}"


def _strided(subject: Subject) -> str:
    if isinstance(subject, Ours):
        length = 4 * LENGTH
        return f"{pairs_in_live_blocks(layout(parse(STRIDED), length), length) / length**2:.2%} at {length:,}"
    found = subject.work([parse(STRIDED)], LENGTH)
    return found if isinstance(found, str) else f"{found.live / found.blocks:.0%} at {LENGTH:,}"


def _gradient_mib(subject: Subject) -> float | str:
    kernel = subject.kernel(parse(WINDOW), LENGTH, HEADS, BLOCK)
    compiled = _compiled(_gradients, kernel, *_shapes(HEADS, LENGTH))
    return compiled if isinstance(compiled, str) else compiled.memory_analysis().temp_size_in_bytes / 2**20


def _longest(subject: Subject) -> str:
    kernel = subject.causal(LONGEST)
    compiled = [_compiled(call, kernel, *_shapes(1, LONGEST)) for call in (_forward, _gradients)]
    return ", ".join(x if isinstance(x, str) else "compiles" for x in compiled)


def _shapes(heads: int, length: int) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct((heads, length, SIZE), jnp.bfloat16)] * 3


def _forward(kernel: Kernel, *given: jax.Array) -> jax.Array:
    return kernel(*given)


def _gradients(kernel: Kernel, *given: jax.Array) -> tuple[jax.Array, ...]:
    loss = lambda *given: jnp.square(kernel(*given).astype(jnp.float32)).mean()  # noqa: E731
    return jax.grad(loss, (0, 1, 2))(*given)


def _compiled(call: Callable[..., Any], *given: Any) -> Any:
    """The program for one v5e, or in a few words what the compiler has against it."""
    _, devices = topology("v5e:2x2")
    mesh = jax.sharding.Mesh(np.array(devices[:1]), ("chip",))
    with jax.set_mesh(mesh):
        whole = jax.NamedSharding(mesh, jax.P())
        lowered = jax.jit(call, in_shardings=whole, out_shardings=whole).lower(*given)
        try:
            return lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            memory = next((x for x in ("smem", "vmem", "hbm") if x in str(error).lower()), None)
            return f"no: {memory} exhausted" if memory else f"no: {str(error).splitlines()[0][:60]}"


def _unseen(subject: Subject) -> str:
    """What comes out of queries that see no key, where every value is at least 1."""
    given = [jax.random.uniform(jax.random.key(n), (1, 256, SIZE), minval=1.0, maxval=2.0) for n in range(3)]
    pattern = parse("Causal() & Window(left=3) & ~Chunk(64)")
    with pltpu.force_tpu_interpret_mode(True):
        found = np.asarray(subject.kernel(pattern, 256, 1, 128)(*given))
    rows = found[0, ~pattern.dense(256, 256).any(1)]
    if np.isnan(rows).any():
        return "NaN"
    return "0" if not rows.any() else f"numbers of {rows.mean():.2f} on average"


def _d_query_error(subject: Subject, length: int = 2048) -> float:
    """Error of the queries' gradient in bfloat16, over that of attention as it is commonly written, in the same format."""
    query, *others = (jax.random.normal(jax.random.key(n), (1, length, SIZE), jnp.bfloat16) for n in range(4))
    given = [query * SIZE**-0.5, *others]
    exact = _d_query(_exact, [x.astype(jnp.float32) for x in given])
    common = np.linalg.norm(_d_query(_common, given) - exact)
    with pltpu.force_tpu_interpret_mode(True):
        found = _d_query(subject.kernel(parse("Causal()"), length, 1, 128), given)
    return float(np.linalg.norm(found - exact) / common)


def _d_query(kernel: Kernel, given: Sequence[jax.Array]) -> np.ndarray:
    @jax.jit
    def gradient(query: Any, key: Any, value: Any, cotangent: Any) -> Any:
        return jax.vjp(lambda q: kernel(q, key, value), query)[1](cotangent)[0]

    return np.asarray(gradient(*given), np.float64)


def _exact(*given: Any) -> jax.Array:
    each = [jnp.swapaxes(x, 0, 1)[None] for x in given]
    return jnp.swapaxes(attend(*each, parse("Causal()"), scale=1.0, implementation="reference")[0], 0, 1)


def _common(query: Any, key: Any, value: Any) -> jax.Array:
    scores = jnp.einsum("nth,nsh->nts", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(jnp.tri(query.shape[1], dtype=bool), scores, -jnp.inf)
    return jnp.einsum("nts,nsh->nth", jax.nn.softmax(scores, axis=-1).astype(value.dtype), value)


MEASURES: dict[str, Callable[[Subject], Any]] = {
    f"seconds for the mask of `{WINDOW}`, {LENGTH:,} tokens": mask_seconds,
    "grid steps that compute, same": lambda s: _useful(s, [WINDOW]),
    "same, causal": lambda s: _useful(s, ["Causal()"]),
    "same, two windows in turn over 16 heads": lambda s: _useful(s, [WINDOW, "Causal() & Window(left=4095)"] * 8),
    "same, window of 511 on both sides and 64 global tokens": lambda s: _useful(s, [BIG_BIRD]),
    f"blocks computed of all, `{STRIDED}`": _strided,
    f"temporaries of the gradient, MiB: {HEADS} x {SIZE}, {LENGTH:,} tokens, window of 1,023, v5e": _gradient_mib,
    f"causal, {LONGEST:,} tokens, v5e: forward, gradient": _longest,
    "queries that see no key give": _unseen,
    "error of the queries' gradient in bfloat16, over the dense one's": _d_query_error,
}


def rows(subjects: Sequence[Subject]) -> Iterator[tuple[str, list[str]]]:
    """Each measure's name and what it is of every subject."""
    for name, measure in MEASURES.items():
        yield name, [_text(measure(subject)) for subject in subjects]


def draw(subjects: Sequence[Subject], path: Path) -> None:
    """Seconds to build the mask of a window against the length, both on logarithmic axes, into a PNG."""
    figure, axes = figure_of("tokens", "seconds for the mask of a window of 1,023")
    for subject in subjects:
        lengths = [2**n for n in range(12, 21 if isinstance(subject, Ours) else 16)]
        axes.loglog(lengths, [mask_seconds(subject, n) for n in lengths], marker=".", label=subject.name)
    axes.legend()
    figure.savefig(path, dpi=120)
