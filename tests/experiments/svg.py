# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots, as SVG by hand: nothing has to be installed for them."""

import math
from xml.sax.saxutils import escape

COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#8d5a97", "#5c5c5c", "#00798c", "#a44a3f")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 400, 70, 220, 40, 50


def ticks(low, high, n=6):
    """Round numbers from 'low' to 'high'."""
    if high <= low:
        high = low + 1
    raw = (high - low) / n
    step = 10 ** math.floor(math.log10(raw))
    step = next(step * m for m in (1, 2, 5, 10) if step * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class Plot:
    def __init__(self, title, xlabel, ylabel, xs, ys):
        self.x0, self.x1 = min(xs), max(xs)
        self.y0, self.y1 = min(0, min(ys)), max(ys) * 1.05 if max(ys) > 0 else 1
        self.out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                    f'font-family="sans-serif" font-size="12">',
                    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
        self.text(WIDTH / 2, 22, title, "middle", 'font-size="15"')
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, xlabel, "middle")
        self.text(16, (TOP + HEIGHT - BOTTOM) / 2, ylabel, "middle",
                  f'transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})"')
        for v in ticks(self.y0, self.y1):
            y = self.y(v)
            self.line(LEFT, y, WIDTH - RIGHT, y, "#dddddd")
            self.text(LEFT - 6, y + 4, f"{v:g}", "end")
        self.line(LEFT, self.y(self.y0), WIDTH - RIGHT, self.y(self.y0), "#333333")
        self.line(LEFT, TOP, LEFT, HEIGHT - BOTTOM, "#333333")

    def x(self, v):
        return LEFT + (v - self.x0) / ((self.x1 - self.x0) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, v):
        return HEIGHT - BOTTOM - (v - self.y0) / ((self.y1 - self.y0) or 1) * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, text, anchor="start", more=""):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>')

    def line(self, xa, ya, xb, yb, colour, more=""):
        self.out.append(f'<line x1="{xa:.1f}" y1="{ya:.1f}" x2="{xb:.1f}" y2="{yb:.1f}" stroke="{colour}" {more}/>')

    def legend(self, i, name):
        y = TOP + 10 + 18 * i
        self.out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="12" height="10" '
                        f'fill="{COLOURS[i % len(COLOURS)]}"/>')
        self.text(WIDTH - RIGHT + 30, y, name)

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.out + ["</svg>"]) + "\n")


def lines(path, title, xlabel, ylabel, series, marks=()):
    """series: {name: [(x, y)]}; marks: [(x, text)], upright lines."""
    points = [p for s in series.values() for p in s]
    plot = Plot(title, xlabel, ylabel, [x for x, _ in points], [y for _, y in points])
    for v in ticks(plot.x0, plot.x1, 8):
        plot.text(plot.x(v), HEIGHT - BOTTOM + 16, f"{v:g}", "middle")
    for x, text in marks:
        plot.line(plot.x(x), TOP, plot.x(x), HEIGHT - BOTTOM, "#999999", 'stroke-dasharray="4 3"')
        plot.text(plot.x(x) + 4, TOP + 10, text)
    for i, (name, found) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        at = " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in found)
        plot.out.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(found) <= 12:
            plot.out += [f'<circle cx="{plot.x(x):.1f}" cy="{plot.y(y):.1f}" r="3.5" fill="{colour}"/>'
                         for x, y in found]
        plot.legend(i, name)
    plot.write(path)


def bars(path, title, ylabel, groups, series):
    """groups: names along x; series: {name: [one value per group]}."""
    plot = Plot(title, "", ylabel, [0, len(groups)], [v for s in series.values() for v in s])
    wide = 0.8 / len(series)
    for g, name in enumerate(groups):
        plot.text(plot.x(g + 0.5), HEIGHT - BOTTOM + 16, name, "middle")
        for i, values in enumerate(series.values()):
            xa, xb = plot.x(g + 0.1 + i * wide), plot.x(g + 0.1 + (i + 1) * wide)
            ya, yb = sorted((plot.y(values[g]), plot.y(0)))
            plot.out.append(f'<rect x="{xa:.1f}" y="{ya:.1f}" width="{xb - xa - 1:.1f}" '
                            f'height="{yb - ya:.1f}" fill="{COLOURS[i % len(COLOURS)]}"/>')
    for i, name in enumerate(series):
        plot.legend(i, name)
    plot.write(path)
