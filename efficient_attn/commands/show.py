"""Draws a pattern and counts its blocks: ``python -m efficient_attn show 'Causal() & Strided(128)' --length 4096``."""

import dataclasses
import io
import pathlib
import shutil
import sys
from typing import Annotated

import numpy as np
import tyro

from efficient_attn.patterns import Pattern, PerHead, drawing, picture
from efficient_attn.patterns.block_mask import BlockMask, Plan
from efficient_attn.patterns.expression import parse
from efficient_attn.patterns.layout import layout, pairs_in_live_blocks

# The most blocks along a side that are classified without being asked for: a fraction of a second.
_MOST_BLOCKS = 2048
# The most that are classified at all: seconds.
_LIMIT_BLOCKS = 16_384


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """What to draw."""

    expression: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="PATTERN")]]
    """The pattern, for example 'Causal() & (Window(left=127) | Strided(128))'."""
    length: int = 1024
    """Queries, and keys."""
    block: int | None = None
    """Positions along the side of a block. Default: 128, and more above 262,144 positions."""
    heads: tuple[int, ...] = ()
    """Of a PerHead pattern, the heads to draw. Default: all."""
    query: int | None = None
    """A query whose keys stand out in the picture file."""
    out: pathlib.Path | None = None
    """Also write a picture: FILE.svg, or FILE.png (which needs matplotlib)."""

    def __post_init__(self):
        if self.length < 1:
            raise ValueError(f"--length must be at least 1, got {self.length}")
        if self.block is not None and self.block < 1:
            raise ValueError(f"--block must be at least 1, got {self.block}")
        if self.query is not None and not 0 <= self.query < self.length:
            raise ValueError(f"--query must be a position below --length {self.length}, got {self.query}")
        if self.out is not None and self.out.suffix not in (".svg", ".png"):
            raise ValueError(f"--out must end in .svg or .png, got {self.out}")


def main(args: Args) -> None:
    """Draws in the terminal, prints the counts and, if asked, writes the picture."""
    pattern = parse(args.expression)
    block = _block(args)
    mask = pattern.block_mask(args.length, args.length, block)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without these signs shows question marks rather than an error.
        sys.stdout.reconfigure(errors="replace")
    width = shutil.get_terminal_size().columns
    print(picture.as_text(pattern, args.length, args.length, block=block, width=width, heads=args.heads))
    print(mask.summary())
    causal = causal_share(mask)
    if causal is not None:
        live, total = causal
        print(f"of the causal area, {live} of {total} blocks are live ({live / total:.2%})")
    for order in _orders(pattern, args.length):
        print(order)
    if args.out is not None:
        panels = picture.panels(pattern, args.length, args.length, block=block, heads=args.heads)
        drawn = picture.draw(panels, query=args.query)
        if args.out.suffix == ".svg":
            args.out.write_text(drawing.to_svg(drawn), encoding="utf-8")
        else:
            args.out.write_bytes(drawing.to_png(drawn))
        print(f"wrote {args.out}")


def _orders(pattern: Pattern, length: int) -> list[str]:
    """What self-attention runs instead where other orders of tokens leave less to compute, for each such pattern of a head."""
    lines = []
    for own in dict.fromkeys(pattern.patterns if isinstance(pattern, PerHead) else (pattern,)):
        parts = layout(own, length)
        if any(part.stride > 1 for part in parts):
            share = pairs_in_live_blocks(parts, length) / length**2
            lines.append(f"{own} runs as {', then '.join(map(str, parts))}: {share:.2%} of all pairs are computed")
    return lines


def _block(args: Args) -> int:
    block = args.block or 128 * max(1, -(-args.length // (128 * _MOST_BLOCKS)))
    if args.length > block * _LIMIT_BLOCKS:
        raise ValueError(
            f"--block must be at least {-(-args.length // _LIMIT_BLOCKS)} at --length {args.length}, which makes "
            f"{_LIMIT_BLOCKS:,} blocks along a side, got {block}"
        )
    return block


def causal_share(mask: BlockMask) -> tuple[int, int] | None:
    """Live blocks, and blocks on or below the diagonal; None if a live block lies above it.

    Summed over heads, or over one head where all share a pattern.
    """
    plans = [mask.plans[p] for p in mask.heads or (0,)]
    if any(_blocks_below(plan) != int(plan.by_query.counts.sum()) for plan in plans):
        return None
    lines = -(-mask.q_len // mask.block)
    return mask.active_blocks, len(plans) * lines * (lines + 1) // 2


def _blocks_below(plan: Plan) -> int:
    runs = plan.by_query
    line = np.repeat(np.arange(len(runs.pointers) - 1), np.diff(runs.pointers))
    return int(np.clip(line + 1 - runs.starts, 0, runs.counts).sum())
