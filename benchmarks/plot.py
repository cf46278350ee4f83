"""Draws what `audio.py --json FILE` has found: CPU and delay over the number of calls, as SVG.

python benchmarks/plot.py FILE docs/performance.svg
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

WIDTH, HEIGHT, MARGIN = 380, 260, 48
COLOURS = ("#1668a7", "#2c8a4b", "#b3541e", "#7a4fa3")
Found = dict[str, Any]
Line = list[tuple[float, float]]


def lines(found: Iterable[Found], figure: Callable[[Found], float]) -> dict[str, Line]:
    """By server: the number of calls, and the median of a figure."""
    values: dict[str, dict[int, list[float]]] = {}
    for each in found:
        values.setdefault(each["server"], {}).setdefault(each["calls"], []).append(figure(each))
    return {
        server: [(calls, median(of_calls[calls])) for calls in sorted(of_calls)]
        for server, of_calls in values.items()
    }


def panel(
    title: str, drawn: dict[str, Line], left: int, logarithmic: bool, ticks: Sequence[float]
) -> list[str]:
    """One diagram. `ticks`: the values of its vertical axis; what lies beyond stands at its edge."""
    most = max(calls for line in drawn.values() for calls, _ in line)
    scale: Callable[[float], float] = math.log10 if logarithmic else float
    low, high = scale(ticks[0]), scale(ticks[-1])

    def x(calls: float) -> float:
        return left + MARGIN + calls / most * (WIDTH - MARGIN - 16)

    def y(value: float) -> float:
        share = (scale(min(max(value, ticks[0]), ticks[-1])) - low) / (high - low)
        return HEIGHT - MARGIN - share * (HEIGHT - MARGIN - 40)

    parts = [f'<text x="{left + MARGIN}" y="20" font-weight="bold">{title}</text>']
    parts += [
        f'<line x1="{x(0)}" x2="{x(most)}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>'
        f'<text x="{x(0) - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks
    ]
    parts += [
        f'<text x="{x(calls):.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{calls:g}</text>'
        for calls in sorted({calls for line in drawn.values() for calls, _ in line})
    ]
    parts.append(
        f'<text x="{x(most / 2):.1f}" y="{HEIGHT - 14}" text-anchor="middle">calls on one core</text>'
    )
    for line, colour in zip(drawn.values(), COLOURS, strict=False):
        points = " ".join(f"{x(calls):.1f},{y(value):.1f}" for calls, value in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(calls):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>'
            for calls, value in line
        ]
    return parts


def svg(found: Sequence[Found]) -> str:
    """The whole picture."""
    cpu = lines(found, lambda each: each["needed_ms"])
    delay = lines(found, lambda each: max(each["in"]["p99_ms"], each["out"]["p99_ms"]))
    parts = panel("CPU needed, ms for a second of one call", cpu, 0, False, (0, 5, 10, 15, 20))
    parts += panel("added delay, 99th percentile, ms", delay, WIDTH, True, (0.1, 1, 10, 100, 1000, 10_000))
    for number, (server, colour) in enumerate(zip(cpu, COLOURS, strict=False)):
        at = MARGIN + number * 200
        parts.append(
            f'<rect x="{at}" y="{HEIGHT + 2}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{at + 18}" y="{HEIGHT + 12}">{server}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT + 24}" '
        f'font-family="sans-serif" font-size="11" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def main(source: Path, target: Path) -> None:
    """Draw SOURCE, lines of JSON, as the picture TARGET."""
    found = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    target.write_text(svg(found), encoding="utf-8")


if __name__ == "__main__":
    main()
