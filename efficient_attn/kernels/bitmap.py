"""Blocks of a pattern whose predicate cannot be computed inside a kernel: one bit for each pair, equal blocks stored once.

A predicate that looks its answer up in a table (``BlockRandom``) has no counterpart in vector registers. Its partial blocks are
evaluated on the host, packed 32 queries to a word: 32 KiB for a block of 512 by 512.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.patterns.algebra import Pattern

_BITS = 32


@functools.lru_cache(maxsize=256)
def computable(pattern: Pattern) -> bool:
    """Whether ``pattern.allows`` is arithmetic on its arguments alone: no tables, no look-ups."""
    queries, keys = jax.ShapeDtypeStruct((8, 1), jnp.int32), jax.ShapeDtypeStruct((1, 128), jnp.int32)
    program = jax.make_jaxpr(pattern.allows)(queries, keys)
    return not any(np.ndim(x) for x in program.consts) and "gather" not in str(program)


def bitmaps(
    pattern: Pattern, rows: np.ndarray, columns: np.ndarray, block: int, by_key: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The blocks at the given block indices.

    Args:
      pattern: any pattern; it is evaluated at every pair of these blocks.
      rows: blocks of queries.
      columns: blocks of keys.
      block: positions in a block.
      by_key: whether keys lie along sublanes in the kernel that reads them.

    Returns:
      Packed distinct blocks, int32 ``[bitmaps, block / 32, block]``, at least one; and which of them each block is.
    """
    found: dict[bytes, int] = {}
    numbers = np.zeros(len(rows), np.int32)
    for n, (row, column) in enumerate(zip(rows, columns, strict=True)):
        i, j = (np.arange(at * block, (at + 1) * block) for at in (int(row), int(column)))
        allowed = np.broadcast_to(pattern.allows(i[:, None], j[None, :]), (block, block))
        packed = pack(allowed.T if by_key else allowed).tobytes()
        numbers[n] = found.setdefault(packed, len(found))
    flat = b"".join(found) or bytes(block * block // 8)
    return np.frombuffer(flat, np.int32).reshape(-1, block // _BITS, block), numbers


def pack(allowed: np.ndarray) -> np.ndarray:
    """Bool ``[n, n]`` to int32 ``[n / 32, n]``: bit ``r % 32`` of word ``r // 32`` of a column is its row ``r``."""
    bits = allowed.reshape(-1, _BITS, allowed.shape[1]).astype(np.uint32)
    return (bits << np.arange(_BITS, dtype=np.uint32)[None, :, None]).sum(1, dtype=np.uint32).view(np.int32)


def unpack(words: jax.Array) -> jax.Array:
    """The inverse, inside a kernel."""
    groups, width = words.shape
    spread = jnp.broadcast_to(words[:, None, :], (groups, _BITS, width)).reshape(groups * _BITS, width)
    bit = jax.lax.broadcasted_iota(jnp.int32, spread.shape, 0) % _BITS
    return jax.lax.shift_right_logical(spread, bit) & 1 == 1
