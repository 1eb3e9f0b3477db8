"""Shapes on paper, and their two writers: SVG, which needs nothing, and PNG, which needs matplotlib."""

import dataclasses
import io
from xml.sax.saxutils import escape

INK, PAPER = "#1d2733", "#ffffff"
# Units of 1/100 inch, from the top left.
Length = float | int


@dataclasses.dataclass(frozen=True)
class Rect:
    """A filled rectangle."""

    x: Length
    y: Length
    width: Length
    height: Length
    fill: str


@dataclasses.dataclass(frozen=True)
class Label:
    """A line of text whose left end of the baseline is at ``x``, ``y``."""

    x: Length
    y: Length
    text: str
    size: Length
    weight: str = "normal"
    family: str = "sans-serif"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Rectangles and labels, later ones on top: what the SVG and the PNG writer both draw."""

    width: Length
    height: Length
    rects: tuple[Rect, ...]
    labels: tuple[Label, ...]


def to_svg(drawing: Drawing) -> str:
    """The drawing as an SVG document; equal drawings give equal text."""
    size = f'width="{drawing.width:g}" height="{drawing.height:g}" viewBox="0 0 {drawing.width:g} {drawing.height:g}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="{INK}">']
    for fill, group in _consecutive(drawing.rects):
        path = "".join(
            f"M{_short(r.x)} {_short(r.y)}h{_short(r.width)}v{_short(r.height)}h-{_short(r.width)}z" for r in group
        )
        lines.append(f'<path fill="{fill}" d="{path}"/>')
    for label in drawing.labels:
        style = f'font-family="{label.family}" font-size="{label.size:g}" font-weight="{label.weight}"'
        lines.append(f'<text x="{_short(label.x)}" y="{_short(label.y)}" {style}>{escape(label.text)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _consecutive(rects: tuple[Rect, ...]) -> list[tuple[str, list[Rect]]]:
    """Neighbours of one colour together, the order kept: later rectangles cover earlier ones."""
    groups: list[tuple[str, list[Rect]]] = []
    for rect in rects:
        if not groups or groups[-1][0] != rect.fill:
            groups.append((rect.fill, []))
        groups[-1][1].append(rect)
    return groups


def _short(value: Length) -> str:
    return f"{round(value, 2):g}"


def to_png(drawing: Drawing, *, dots_per_inch: int = 200) -> bytes:
    """The drawing as a PNG file.

    Raises:
      RuntimeError: if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.collections import PatchCollection
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError as error:
        raise RuntimeError(
            "a PNG needs matplotlib: pip install 'efficient-attn[plots]' (an SVG needs nothing)"
        ) from error
    figure = Figure(figsize=(drawing.width / 100, drawing.height / 100), dpi=dots_per_inch)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, drawing.width), ylim=(drawing.height, 0))
    axes.set_axis_off()
    patches = [Rectangle((r.x, r.y), r.width, r.height) for r in drawing.rects]
    axes.add_collection(PatchCollection(patches, facecolors=[r.fill for r in drawing.rects], linewidths=0))
    for label in drawing.labels:
        points = label.size * 0.72
        style = {"fontsize": points, "weight": label.weight, "family": label.family, "color": INK}
        axes.text(label.x, label.y, label.text, parse_math=False, **style)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()
