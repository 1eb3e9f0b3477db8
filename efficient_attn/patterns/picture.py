"""A pattern as a picture: as text for a terminal, or as a drawing for SVG and PNG.

Rows are queries, columns are keys. Short sequences are drawn position by position; longer ones in square cells that are
full (every pair allowed), partial (some pairs) or empty, so that a million positions are drawn as fast as a hundred.
"""

import dataclasses
import itertools
import math

import numpy as np

from efficient_attn.patterns.algebra import Pattern, PerHead
from efficient_attn.patterns.block_mask import EMPTY, FULL, PARTIAL, BlockMask, block_kinds
from efficient_attn.patterns.drawing import PAPER, Drawing, Label, Length, Rect, to_png

# Cell states beyond the three kinds of block.
_OWN, _SEEN, _SEEN_PARTIAL, _ROW = 3, 4, 5, 6
_COLOURS = {
    EMPTY: "#eef1f5",
    PARTIAL: "#bcd0ea",
    FULL: "#6c9bd2",
    _OWN: "#24476f",
    _SEEN: "#ef8a32",
    _SEEN_PARTIAL: "#f8caa0",
    _ROW: "#fbeee0",
}
_LEGEND = {
    _OWN: "the query itself",
    FULL: "seen",
    PARTIAL: "partly seen",
    _SEEN: "seen by the marked query",
    _SEEN_PARTIAL: "partly seen by the marked query",
}
_SIDE, _GAP, _TITLE, _CAPTION, _LEGEND_HEIGHT = 240, 32, 30, 18, 34
# Below this many units a cell's outline would cover much of the cell.
_SMALLEST_OUTLINED = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One square of cells."""

    title: str
    caption: str
    kinds: np.ndarray
    """uint8 ``[rows, columns]``: EMPTY, PARTIAL or FULL."""
    side: int
    """Positions along the side of a cell; 1 where each cell is one pair."""


def panels(
    pattern: Pattern | BlockMask,
    q_len: int,
    k_len: int,
    *,
    block: int = 1,
    cells: int = 64,
    heads: tuple[int, ...] = (),
) -> tuple[Panel, ...]:
    """The cells of a pattern: one panel, or one for each distinct pattern among the heads.

    Args:
      pattern: what to draw.
      q_len: queries.
      k_len: keys.
      block: positions along the side of a kernel's block; a cell is a whole number of blocks, or one position.
      cells: the most cells along a side.
      heads: of a PerHead pattern, the heads to draw; none named, all.

    Raises:
      ValueError: if ``heads`` names a head that the pattern does not have.

    Cost: O(cells**2), whatever the length.
    """
    pattern = pattern.pattern if isinstance(pattern, BlockMask) else pattern
    longest = max(q_len, k_len)
    side = 1 if longest <= cells else block * math.ceil(longest / (block * cells))
    plain_of_head = dict(enumerate(pattern.patterns if isinstance(pattern, PerHead) else (pattern,)))
    if heads and not isinstance(pattern, PerHead):
        raise ValueError("heads can be chosen of a PerHead pattern only: this pattern is the same for all heads")
    drawn = {}
    for head in heads or plain_of_head:
        if head not in plain_of_head:
            raise ValueError(f"heads must lie in 0..{len(plain_of_head) - 1}, got {head}")
        drawn.setdefault(plain_of_head[head], []).append(head)
    return tuple(
        Panel(
            title=_heads_title(heads) if isinstance(pattern, PerHead) else "",
            caption=_shortened(repr(plain)),
            kinds=_kinds(plain, q_len, k_len, side),
            side=side,
        )
        for plain, heads in drawn.items()
    )


def _kinds(pattern: Pattern, q_len: int, k_len: int, side: int) -> np.ndarray:
    if side == 1:
        return np.where(pattern.dense(q_len, k_len), FULL, EMPTY).astype(np.uint8)
    return block_kinds(pattern, q_len, k_len, side)


def _heads_title(heads: list[int]) -> str:
    return f"head {heads[0]}" if len(heads) == 1 else _shortened(f"heads {', '.join(map(str, heads))}", most=26)


def _shortened(text: str, most: int = 36) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def as_text(
    pattern: Pattern | BlockMask,
    q_len: int,
    k_len: int,
    *,
    block: int = 1,
    width: int = 80,
    heads: tuple[int, ...] = (),
) -> str:
    """The pattern for a terminal ``width`` characters wide, with a line that explains the signs; see ``panels``."""
    # 40 cells are 80 characters, and about as many lines as a screen has.
    drawn = panels(pattern, q_len, k_len, block=block, cells=max(1, min(width // 2, 40)), heads=heads)
    signs = {EMPTY: "· ", FULL: "■ "} if drawn[0].side == 1 else {EMPTY: "· ", PARTIAL: "▒▒", FULL: "██"}
    lines = []
    for panel in drawn:
        lines += [panel.title] if panel.title else []
        lines += ["".join(signs[kind] for kind in row).rstrip() for row in panel.kinds.tolist()]
    if drawn[0].side == 1:
        legend = "rows: queries, columns: keys; ■ seen"
    else:
        legend = f"rows: queries, columns: keys, {drawn[0].side:,} to a cell; █ all seen, ▒ some"
    return "\n".join([*lines, legend])


def draw(drawn: tuple[Panel, ...], *, columns: int = 4, query: int | None = None, seen: str = _LEGEND[FULL]) -> Drawing:
    """Lays panels out in rows of ``columns``, with a legend.

    Args:
      drawn: the panels, left to right, top to bottom.
      columns: panels in a row.
      query: a query position whose keys stand out, as in the figures of the papers.
      seen: what the legend says of a full cell.
    """
    columns = min(columns, len(drawn))
    lines = 1 + max(panel.caption.count("\n") for panel in drawn)
    head = _TITLE if any(panel.title for panel in drawn) else 0
    pitch_x, pitch_y = _SIDE + _GAP, head + _SIDE + _CAPTION * lines + _GAP
    rects, labels, shown = [], [], set()
    for index, panel in enumerate(drawn):
        x, y = _GAP + index % columns * pitch_x, _GAP / 2 + index // columns * pitch_y
        states = _states(panel, query)
        shown |= set(np.unique(states).tolist())
        rects += _cells(states, x, y + head)
        labels.append(Label(x, y + head - 10, panel.title, 15, weight="bold"))
        for n, line in enumerate(panel.caption.split("\n")):
            labels.append(Label(x, y + head + _SIDE + _CAPTION * (n + 1), line, 11, family="monospace"))
    width, height = _GAP + columns * pitch_x, _GAP / 2 + -(-len(drawn) // columns) * pitch_y
    swatches, names = _legend({**_LEGEND, FULL: seen}, shown, height, width)
    paper = Rect(0, 0, width, height + _LEGEND_HEIGHT * (1 + len(swatches) // 4), PAPER)
    return Drawing(paper.width, paper.height, (paper, *rects, *swatches), (*labels, *names))


def _states(panel: Panel, query: int | None) -> np.ndarray:
    """What each cell shows: its kind, and on top of it the queries themselves and the row of the marked query."""
    states = panel.kinds.copy()
    own = np.arange(min(states.shape))
    if query is not None:
        row = states[query // panel.side]
        row[:] = np.select([row == FULL, row == PARTIAL], [_SEEN, _SEEN_PARTIAL], _ROW)
    if panel.side == 1:
        allowed = own[panel.kinds[own, own] == FULL]
        states[allowed, allowed] = _OWN
    return states


def _cells(states: np.ndarray, x: Length, y: Length) -> list[Rect]:
    """The cells as few rectangles: runs along a row, and equal runs of neighbouring rows, are one each."""
    rows, columns = states.shape
    cell = _SIDE / max(rows, columns)
    rects, open_runs = [], {}
    for r in range(rows + 1):
        runs = _runs(states[r]) if r < rows else set()
        for start, stop, state in [run for run in open_runs if run not in runs]:
            top = open_runs.pop((start, stop, state))
            size = (stop - start) * cell, (r - top) * cell
            rects.append(Rect(x + start * cell, y + top * cell, *size, _COLOURS[state]))
        for run in sorted(runs):
            open_runs.setdefault(run, r)
    # Cells of one colour together make a short SVG; they do not overlap, so their order is free.
    rects.sort(key=lambda rect: rect.fill)
    ground = Rect(x, y, columns * cell, rows * cell, _COLOURS[EMPTY])
    return [ground, *rects, *(_outlines(rows, columns, cell, x, y) if cell >= _SMALLEST_OUTLINED else [])]


def _outlines(rows: int, columns: int, cell: Length, x: Length, y: Length) -> list[Rect]:
    across = [Rect(x + c * cell - 0.5, y, 1, rows * cell, PAPER) for c in range(1, columns)]
    return across + [Rect(x, y + r * cell - 0.5, columns * cell, 1, PAPER) for r in range(1, rows)]


def _runs(row: np.ndarray) -> set[tuple[int, int, int]]:
    """Runs of equal states along a row, empty ones left out: (start, stop, state)."""
    edges = np.flatnonzero(np.diff(row, prepend=255, append=255))
    return {(int(a), int(b), int(row[a])) for a, b in itertools.pairwise(edges) if row[a] != EMPTY}


def _legend(words: dict[int, str], shown: set[int], y: Length, width: Length) -> tuple[list[Rect], list[Label]]:
    swatches, names = [], []
    x = _GAP
    for state in [state for state in words if state in shown]:
        length = 26 + 6 * len(words[state]) + 18
        if x > _GAP and x + length > width:
            x, y = _GAP, y + 22
        swatches.append(Rect(x, y, 13, 13, _COLOURS[state]))
        names.append(Label(x + 19, y + 11, words[state], 12))
        x += length
    return swatches, names


def notebook_png(pattern: Pattern) -> bytes | None:
    """A PNG long enough to show the pattern's own lengths, or None where matplotlib is missing."""
    length = min(max(16, 2 * _largest_number(pattern)), 2**20)
    try:
        return to_png(draw(panels(pattern, length, length)), dots_per_inch=100)
    except RuntimeError:
        return None


def _largest_number(value: object) -> int:
    """The largest whole number among the fields of a pattern and of its parts, seeds left out."""
    if isinstance(value, int):
        return value
    if isinstance(value, tuple):
        return max(map(_largest_number, value), default=0)
    if not dataclasses.is_dataclass(value):
        return 0
    fields = [field.name for field in dataclasses.fields(value) if field.name != "seed"]
    return max((_largest_number(getattr(value, name)) for name in fields), default=0)
