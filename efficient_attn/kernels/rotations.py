"""Which keys travel between devices that share a sequence: made on the host from the pattern, before anything is traced."""

import dataclasses
import functools

import numpy as np

from efficient_attn.patterns.algebra import Or, Pattern, union_of_heads
from efficient_attn.patterns.block_mask import build_block_mask
from efficient_attn.patterns.box import Box
from efficient_attn.patterns.shifted import within

# Keys are sent in whole blocks of this many at most, which the kernels visit whole too; in finer ones of a short shard.
_BLOCK = 128


@dataclasses.dataclass(frozen=True)
class Rotation:
    """One exchange: the device of query shard ``d`` receives keys of shard ``(d - turn) % devices`` and attends to them."""

    turn: int
    """0: the device's own keys, all of them, which do not travel."""
    pairs: tuple[tuple[int, int], ...]
    """Sender and receiver of each message; devices that see nothing of the other shard receive none."""
    keys: int
    """Keys in a message."""
    starts: tuple[int, ...]
    """First key that each device sends."""
    patterns: tuple[Pattern, ...]
    """The distinct patterns between a device's queries and the keys it receives, both counted from 0."""
    branch: tuple[tuple[int, ...], ...]
    """Which of them each device computes, by its part of the heads and its part of the sequence; -1: none."""


@functools.lru_cache(maxsize=256)
def rotations(parts: tuple[Pattern, ...], devices: int, length: int) -> tuple[Rotation, ...]:
    """The rotations that some device needs, that of its own keys first and always.

    Args:
      parts: the pattern of each part of the heads; one where all devices have the same.
      devices: how many share the sequence.
      length: tokens of each.

    Cost: ``devices**2`` interval tests, and the block mask of each distinct pattern between two shards.
    """
    first = np.arange(devices) * length
    last = first + length - 1
    grid = Box.of(first[:, None], last[:, None], first[None, :], last[None, :])
    may = Or(tuple(union_of_heads(part) for part in parts)).bounds(grid)[0]
    live = np.broadcast_to(np.asarray(may), (devices, devices))
    turns = [[(d - turn) % devices for d in range(devices)] for turn in range(devices)]
    made = [_rotation(parts, turn, sources, live, length) for turn, sources in enumerate(turns)]
    return tuple(rotation for rotation in made if rotation.turn == 0 or rotation.pairs)


def _rotation(parts: tuple[Pattern, ...], turn: int, sources: list[int], live: np.ndarray, length: int) -> Rotation:
    """The rotation in which query shard ``d`` meets key shard ``sources[d]``."""
    reach = {}
    for d, source in enumerate(sources):
        if live[d, source] and (extent := _reach(parts, d * length, source * length, length)):
            reach[d] = extent
    keys = max((end - begin for begin, end in reach.values()), default=0) if turn else length
    # Where nearly all of a shard would travel all of it does: as many keys as queries may be put into orders of their own.
    keys = length if 8 * keys >= 7 * length else keys
    starts, table = [0] * len(sources), []
    for d, (begin, _) in reach.items():
        starts[sources[d]] = min(begin, length - keys)
    for part in parts:
        of_part = [
            within(part, (d * length, length), (s * length + starts[s], keys)) if d in reach else None
            for d, s in enumerate(sources)
        ]
        table.append(of_part)
    patterns = tuple(dict.fromkeys(p for of_part in table for p in of_part if p is not None))
    branch = tuple(tuple(-1 if p is None else patterns.index(p) for p in of_part) for of_part in table)
    return Rotation(turn, tuple((sources[d], d) for d in reach if turn), keys, tuple(starts), patterns, branch)


def _reach(parts: tuple[Pattern, ...], query: int, key: int, length: int) -> tuple[int, int] | None:
    """The first key of a shard that the queries of another see, and one past the last, in whole blocks."""
    between = [within(part, (query, length), (key, length)) for part in parts]
    extents = [found for p in dict.fromkeys(between) if p is not None and (found := _extent(p, length))]
    return (min(e[0] for e in extents), max(e[1] for e in extents)) if extents else None


@functools.lru_cache(maxsize=1024)
def _extent(pattern: Pattern, length: int) -> tuple[int, int] | None:
    block = max(1, min(_BLOCK, length // 8))
    runs = [plan.by_query for plan in build_block_mask(pattern, length, length, block).plans]
    if not any(r.starts.size for r in runs):
        return None
    begin = min(int(r.starts.min(initial=length)) for r in runs)
    end = max(int((r.starts + r.counts).max(initial=0)) for r in runs)
    return begin * block, min(end * block, length)
