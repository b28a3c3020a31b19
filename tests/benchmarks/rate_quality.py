"""Draw assets/docs/rate-quality.svg, the quality of speech against bitrate, from rate_quality.csv.

    python tests/benchmarks/rate_quality.py

Each row of the CSV is a mean over the same clips. `assets/docs/evaluation.md` says how they were made.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

DATA = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parents[2] / "assets" / "docs" / "rate-quality.svg"

WIDTH, HEIGHT = 880, 400
TOP, BOTTOM = 84, 340  # of the plots
PLOT_WIDTH = 350
BITRATES = (1.5, 3, 6, 12)  # kbit/s, the ticks of the logarithmic axis
LOWEST, HIGHEST = 1.3, 18  # kbit/s
LINE_HEIGHT = 17
INK, GRID = "#222222", "#dddddd"


class Curve(NamedTuple):
    """How a codec is drawn."""

    codec: str
    color: str
    thickness: float


class Panel(NamedTuple):
    """A plot of one metric."""

    metric: str
    title: str
    subtitle: str
    left: float
    worst: float  # the bottom of the axis
    best: float  # its top
    ticks: tuple[float, ...]
    labels: dict[str, tuple[int, float, float]]  # codec -> point that its label stands at, and the offset


CURVES = (
    Curve("Lyra v2", "#00795c", 2),
    Curve("Opus", "#b34700", 2),
    Curve("Opus + NoLACE", "#9a4f86", 2),
    Curve("Lamella", "#0060a8", 4),
)
PANELS = (
    Panel(
        metric="visqol_speech",
        title="Similarity to the source",
        subtitle="ViSQOL, higher is better",
        left=60,
        worst=1.0,
        best=4.3,
        ticks=(1, 2, 3, 4),
        labels={
            "Lamella": (1, -4, -16),
            "Opus": (0, 12, 5),
            "Opus + NoLACE": (1, 12, 22),
            "Lyra v2": (0, -10, 5),
        },
    ),
    Panel(
        metric="distillmos_drop",
        title="Naturalness of voices",
        subtitle="DistillMOS lost by coding, up is better",
        left=500,
        worst=2.0,
        best=0.0,
        ticks=(2, 1.5, 1, 0.5, 0),
        labels={
            "Lamella": (1, -4, -16),
            "Opus": (0, 12, 5),
            "Opus + NoLACE": (0, -8, -14),
            "Lyra v2": (0, 10, 20),
        },
    ),
)


def read_points(metric: str) -> dict[str, list[tuple[float, float]]]:
    """Return the (kbit/s, value) points of each codec, by rising bitrate."""
    points: dict[str, list[tuple[float, float]]] = {curve.codec: [] for curve in CURVES}
    with DATA.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            points[row["codec"]].append((float(row["kbps"]), float(row[metric])))
    return {codec: sorted(pairs) for codec, pairs in points.items()}


def place(panel: Panel, kbps: float, value: float) -> tuple[float, float]:
    """Return the place of a point in the picture."""
    across = math.log(kbps / LOWEST) / math.log(HIGHEST / LOWEST)
    up = (value - panel.worst) / (panel.best - panel.worst)
    return panel.left + across * PLOT_WIDTH, BOTTOM - up * (BOTTOM - TOP)


def text(x: float, y: float, content: str, **attributes: object) -> str:
    """Return a text element; underscores in names of attributes become hyphens."""
    written = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{written}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    """Return a line element."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def axes(panel: Panel) -> Iterator[str]:
    """Yield the titles, the grid and the numbers of a panel."""
    yield text(panel.left, 36, panel.title, font_size=18, font_weight="bold")
    yield text(panel.left, 58, panel.subtitle, font_size=14)
    for tick in panel.ticks:
        x, y = place(panel, LOWEST, tick)
        yield line(x, y, x + PLOT_WIDTH, y, GRID)
        yield text(x - 8, y + 5, f"{tick:g}", font_size=13, text_anchor="end")
    for bitrate in BITRATES:
        x, _ = place(panel, bitrate, panel.worst)
        yield line(x, BOTTOM, x, BOTTOM + 5, INK)
        yield text(x, BOTTOM + 22, f"{bitrate:g}", font_size=13, text_anchor="middle")
    yield line(panel.left, BOTTOM, panel.left + PLOT_WIDTH, BOTTOM, INK)
    yield text(panel.left + PLOT_WIDTH / 2, BOTTOM + 44, "kbit/s", font_size=14, text_anchor="middle")


def curve(panel: Panel, style: Curve, points: list[tuple[float, float]]) -> Iterator[str]:
    """Yield the line and the points of a codec."""
    places = [place(panel, *point) for point in points]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield (
        f'<polyline points="{corners}" fill="none" stroke="{style.color}" stroke-width="{style.thickness}"/>'
    )
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{style.thickness + 1.5}" fill="{style.color}"/>'


def label(panel: Panel, style: Curve, points: list[tuple[float, float]]) -> Iterator[str]:
    """Yield the name of a codec beside one of its points, on a white outline."""
    number, right, down = panel.labels[style.codec]
    x, y = place(panel, *points[number])
    look = {"font_size": 15, "font_weight": "bold", "text_anchor": "end" if right < 0 else "start"}
    outline = {"stroke": "white", "stroke_width": 5, "stroke_linejoin": "round"}
    for row, words in enumerate(style.codec.replace(" + ", " +\n").split("\n")):
        for drawn in ({"fill": "white", **outline}, {"fill": style.color}):
            yield text(x + right, y + down + row * LINE_HEIGHT, words, **drawn, **look)


def draw() -> str:
    """Return the picture."""
    parts = []
    for panel in PANELS:
        parts += axes(panel)
        points = read_points(panel.metric)
        for element in (curve, label):
            for style in CURVES:
                parts += element(panel, style, points[style.codec])
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif" fill="{INK}">'
    )
    title = (
        "<title>Quality of speech against bitrate: Lamella beside Opus, Opus with NoLACE, and Lyra v2</title>"
    )
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="white"/>'
    return "\n".join([head, title, background, *parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
