"""Pictures: the text, the cells, and the two files."""

import dataclasses
import sys
import time
import xml.etree.ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from pattern_strategies import kinds_by_brute_force, leaves, lengths, random_checks

from efficient_attn import patterns as P
from efficient_attn.patterns.block_mask import EMPTY, FULL
from efficient_attn.patterns.drawing import to_png, to_svg
from efficient_attn.patterns.picture import as_text, draw, notebook_png, panels

pytestmark = [pytest.mark.fast, random_checks]

MILLION = 1 << 20


def test_positions_as_text():
    assert as_text(P.Causal() & P.Strided(2), 4, 4).splitlines() == [
        "■ · · ·",
        "· ■ · ·",
        "■ · ■ ·",
        "· ■ · ■",
        "rows: queries, columns: keys; ■ seen",
    ]


def test_blocks_as_text():
    assert as_text(P.Causal(), 96, 96, block=32, width=6).splitlines() == [
        "▒▒· ·",
        "██▒▒·",
        "████▒▒",
        "rows: queries, columns: keys, 32 to a cell; █ all seen, ▒ some",
    ]


def test_heads_with_one_pattern_share_a_panel():
    text = as_text(P.PerHead([P.Full(), P.Causal(), P.Full()]), 2, 3)
    assert text.splitlines()[:6] == ["heads 0, 2", "■ ■ ■", "■ ■ ■", "head 1", "■ · ·", "■ ■ ·"]


def test_a_block_mask_can_be_drawn():
    mask = P.Causal().block_mask(96, 96, 32)
    assert as_text(mask, 96, 96, block=32) == as_text(P.Causal(), 96, 96, block=32)


@pytest.mark.parametrize("width", [1, 2, 20, 80, 300])
@pytest.mark.parametrize("length", [1, 39, 41, 1000, MILLION])
def test_text_fits_the_terminal(width, length):
    lines = as_text(P.Window(3, 3), length, length, block=16, width=width).splitlines()[:-1]
    assert max(map(len, lines)) <= max(width, 2)
    assert len(lines) <= 40


@given(leaves, lengths, lengths)
@settings(max_examples=100, deadline=None)
def test_cells_are_the_blocks(pattern, q_len, k_len):
    (panel,) = panels(pattern, q_len, k_len, block=3, cells=16)
    np.testing.assert_array_equal(panel.kinds, kinds_by_brute_force(pattern, q_len, k_len, panel.side))
    assert panel.side == 1 or panel.side % 3 == 0
    assert max(panel.kinds.shape) <= 16


def painted(drawing, panel_size):
    """The colours on paper, one per cell, painted in the order of the rectangles."""
    grid = np.full((panel_size, panel_size), "", dtype=object)
    cell = 240 / panel_size
    top = min(r.y for r in drawing.rects[1:])
    for rect in drawing.rects:
        if min(rect.width, rect.height) < cell / 2 or rect.width > 241:
            continue
        column, row = round((rect.x - 32) / cell), round((rect.y - top) / cell)
        grid[row : row + round(rect.height / cell), column : column + round(rect.width / cell)] = rect.fill
    return grid


@given(leaves)
@settings(max_examples=50, deadline=None)
def test_merged_rectangles_paint_every_cell_its_colour(pattern):
    (panel,) = panels(pattern, 12, 12)
    drawing = draw((panel,))
    grid = painted(drawing, 12)
    own = np.eye(12, dtype=bool) & (panel.kinds == FULL)
    assert set(grid[panel.kinds == EMPTY]) <= {"#eef1f5"}
    assert set(grid[(panel.kinds == FULL) & ~own]) <= {"#6c9bd2"}
    assert set(grid[own]) <= {"#24476f"}


def test_the_marked_query_stands_out():
    (panel,) = panels(P.Causal() & P.Strided(3), 12, 12)
    grid = painted(draw((panel,), query=7), 12)
    assert [c for c in range(12) if grid[7, c] == "#ef8a32"] == [1, 4]
    assert grid[7, 7] == "#24476f"
    assert "#ef8a32" not in np.delete(grid, 7, axis=0)


def test_svg_is_a_small_document_with_escaped_text():
    drawing = draw(panels(P.Causal() & P.Chunk(4), 32, 32))
    text = to_svg(drawing)
    root = xml.etree.ElementTree.fromstring(text)
    captions = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "(Causal() & Chunk(size=4))" in captions
    assert len(text) < 10_000
    assert to_svg(draw(panels(P.Causal() & P.Chunk(4), 32, 32))) == text


def test_one_full_panel_is_one_rectangle():
    (panel,) = panels(P.Full(), 1000, 1000)
    drawing = draw((panel,))
    assert len(drawing.rects) == 4  # paper, ground, the full square, its swatch in the legend


def test_png():
    pytest.importorskip("matplotlib")
    drawing = draw(panels(P.PerHead([P.Causal(), P.Full()]), 64, 64), query=9)
    data = to_png(drawing, dots_per_inch=50)
    assert data.startswith(b"\x89PNG")
    assert to_png(drawing, dots_per_inch=50) == data


def test_notebooks_get_a_png():
    pytest.importorskip("matplotlib")
    assert (P.Causal() & P.Window(1023))._repr_png_().startswith(b"\x89PNG")
    assert P.PerHead([P.Full(), P.BlockRandom(4, 1, 10**9, 64)])._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_a_png_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    drawing = draw(panels(P.Causal(), 8, 8))
    with pytest.raises(RuntimeError, match=r"pip install 'efficient-attn\[plots\]'"):
        to_png(drawing)
    assert notebook_png(P.Causal()) is None
    assert to_svg(drawing).startswith("<svg")


def test_a_million_positions_are_drawn_at_once():
    start = time.perf_counter()
    text = as_text(P.Causal() & (P.Window(1023) | P.Strided(1024)), MILLION, MILLION, block=512)
    to_svg(draw(panels(P.PerHead([P.Causal(), P.Window(4095)]), MILLION, MILLION, block=512)))
    assert time.perf_counter() - start < 2
    assert "26,624 to a cell" in text


def test_panels_of_different_patterns_share_one_drawing():
    first, second = (dataclasses.replace(panels(p, 8, 8)[0], title=f"{p}") for p in (P.Causal(), P.Full()))
    labels = [label.text for label in draw((first, second)).labels]
    assert labels[:2] == ["Causal()", "Causal()"]
    assert labels[2:4] == ["Full()", "Full()"]
