"""The table of accuracies as a picture: for each set a panel, for each method a line with its deviation over seeds."""

from html import escape

import numpy as np
from tables import groups

width, height, left, top, gap = 380, 250, 46, 46, 70
# Told apart without colours too: by dashes and marks (Okabe and Ito 2008 for the colours).
styles = (
    ("#0072b2", ""),
    ("#e69f00", "7 3"),
    ("#009e73", "2 3"),
    ("#cc79a7", "9 3 2 3"),
    ("#56b4e9", "4 4"),
    ("#d55e00", "1 4"),
)


def accuracy_picture(measured: list[dict]) -> str:
    """SVG, with colours for light and dark pages."""
    found = groups(measured)
    sets = list(dict.fromkeys(of for of, _ in found))
    methods = list(dict.fromkeys(method for _, method in found))
    panels = [
        panel(one, at, {method: found[one, method] for method in methods if (one, method) in found}, methods)
        for at, one in enumerate(sets)
    ]
    whole = left + len(sets) * (width + gap), top + height + 60 + 20 * len(methods)
    lines = [legend(method, top + height + 62 + 20 * at, styles[at % len(styles)]) for at, method in enumerate(methods)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]} {whole[1]}" font-family="sans-serif" '
        'font-size="13" role="img" aria-label="Accuracy by pictures a class">\n'
        "<style>text { fill: #333 } .axis { stroke: #888 } @media (prefers-color-scheme: dark) "
        "{ text { fill: #ddd } }</style>\n" + "".join(panels + lines) + "</svg>\n"
    )


def panel(name: str, at: int, of_method: dict[str, dict[int, list[dict]]], methods: list[str]) -> str:
    sizes = sorted({size for of_size in of_method.values() for size in of_size})
    shares = [one["accuracy"] * 100 for of_size in of_method.values() for some in of_size.values() for one in some]
    low, high = 10 * np.floor(min(shares) / 10), 10 * np.ceil(max(shares) / 10)
    x0 = left + at * (width + gap)

    def x(size: int) -> float:
        first, last = np.log(sizes[0]), np.log(sizes[-1])
        return x0 + width * (0.5 if first == last else 0.04 + 0.92 * (np.log(size) - first) / (last - first))

    def y(share: float) -> float:
        return top + height * (high - share) / max(high - low, 1)

    parts = [f'<text x="{x0}" y="24" font-weight="bold">{escape(name)}</text>\n']
    for share in np.arange(low, high + 1, 10):
        parts.append(
            f'<path class="axis" stroke-opacity=".35" d="M{x0} {y(share):.1f}h{width}"/>'
            f'<text x="{x0 - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0f}</text>\n'
        )
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{top + height + 20}" text-anchor="middle">{size}</text>\n')
    parts.append(
        f'<text x="{x0 + width / 2}" y="{top + height + 40}" text-anchor="middle">pictures a class; % right</text>\n'
    )
    for method, of_size in of_method.items():
        colour, dashes = styles[methods.index(method) % len(styles)]
        points = []
        for size, some in sorted(of_size.items()):
            values = np.array([one["accuracy"] * 100 for one in some])
            mean, deviation = values.mean(), values.std()
            points.append(f"{x(size):.1f} {y(mean):.1f}")
            parts.append(
                f'<path stroke="{colour}" d="M{x(size):.1f} {y(mean - deviation):.1f}V{y(mean + deviation):.1f}"/>'
                f'<circle cx="{x(size):.1f}" cy="{y(mean):.1f}" r="3" fill="{colour}"/>\n'
            )
        parts.append(
            f'<path fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" d="M{"L".join(points)}"/>\n'
        )
    return "".join(parts)


def legend(method: str, y: int, style: tuple[str, str]) -> str:
    colour, dashes = style
    return (
        f'<path stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" d="M{left} {y}h34"/>'
        f'<text x="{left + 42}" y="{y + 4}">{escape(method)}</text>\n'
    )
