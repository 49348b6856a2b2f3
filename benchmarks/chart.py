"""Lines a CPU second as bars: an SVG that is read on light and on dark paper."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from xml.sax.saxutils import escape

from benchmarks.job import EMBEDDED, LINE_PROTOCOL
from benchmarks.measure import Figure
from benchmarks.throughput import UNIT

_LEFT, _LONGEST, _WIDTH = 220, 380, 860
_BAR, _GAP, _TOP = 18, 14, 64

# One colour for both papers: an image does not learn which of them a page has chosen.
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #757c85 }
.title { font-size: 16px; font-weight: 600 }
.ours { fill: #2f81f7 }
.theirs { fill: #9199a3 }
"""


def chart(figures: Iterable[Figure], circumstances: str) -> str:
    """The SVG of what stands in `figures` about line protocol and the embedded store."""
    groups = _groups(figures)
    longest = max((speed for bars in groups.values() for _, speed in bars), default=1.0)
    parts: list[str] = []
    y = _TOP
    for name, bars in groups.items():
        middle = y + len(bars) * _BAR / 2 + 4
        parts.append(_text(_LEFT - 12, middle, name, 'text-anchor="end"'))
        for who, speed in bars:
            width = max(1.0, speed / longest * _LONGEST)
            kind = "ours" if who == _OURS else "theirs"
            parts.append(
                f'<rect class="{kind}" x="{_LEFT}" y="{y + 2}" width="{width:.1f}" '
                f'height="{_BAR - 4}" rx="2"/>'
            )
            label = f"{round(speed, -3):,.0f} {who}"
            parts.append(_text(_LEFT + width + 6, y + _BAR - 5, label, ""))
            y += _BAR
        y += _GAP
    title = "Lines a CPU second, one worker"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 12}" '
            f'width="{_WIDTH}" height="{y + 12}" role="img">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            _text(16, 26, title, 'class="title"'),
            _text(16, 46, circumstances, ""),
            *parts,
            "</svg>\n",
        ]
    )


_OURS = "Logwax"


def _groups(figures: Iterable[Figure]) -> dict[str, list[tuple[str, float]]]:
    """What is compared with what: name -> who, and lines a CPU second."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for figure in figures:
        store = figure.name.rpartition(" -> ")[2]
        if store not in (LINE_PROTOCOL, EMBEDDED) or not figure.theirs:
            continue
        if figure.unit != UNIT:
            continue
        bars = groups.setdefault(figure.name, [(_OURS, 1e6 / median(figure.ours))])
        bars.append((figure.beside, 1e6 / median(figure.theirs)))
    return groups


def _text(x: float, y: float, text: str, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'
