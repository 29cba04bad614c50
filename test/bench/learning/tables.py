"""Measurements as Markdown."""

from collections.abc import Iterable

import numpy as np

# Of right answers that may be lost to "I don't know": the points of the curve.
losses = (0.0, 0.02, 0.05, 0.1)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def groups(measured: list[dict]) -> dict[tuple[str, str], dict[int, list[dict]]]:
    """By set and method, then by size."""
    found: dict[tuple[str, str], dict[int, list[dict]]] = {}
    for one in measured:
        found.setdefault((one["set"], one["method"]), {}).setdefault(one["size"], []).append(one)
    return found


def accuracy_table(measured: list[dict]) -> str:
    """Percent of the test pictures (mean and deviation over seeds) and seconds of the processor."""
    sizes = sorted({one["size"] for one in measured})

    def cell(some: list[dict] | None) -> str:
        if not some:
            return "-"
        shares = np.array([one["accuracy"] for one in some]) * 100
        seconds = np.mean([one["seconds"] for one in some])
        return f"{shares.mean():.1f} ± {shares.std():.1f} ({seconds:.1f} s)"

    rows = (
        [of, method, *(cell(of_size.get(size)) for size in sizes)] for (of, method), of_size in groups(measured).items()
    )
    return table(["set", "method", *(f"{size} a class" for size in sizes)], rows)


def stated_table(measured: list[dict]) -> str:
    """Whether the report told the truth: its accuracy against that on the test pictures."""
    stated = [one for one in measured if "stated" in one]
    if not stated:
        return ""
    rows = []
    for (of, method), of_size in groups(stated).items():
        for size, some in sorted(of_size.items()):
            holds = sum(one["stated"]["low"] <= one["accuracy"] <= one["stated"]["high"] for one in some)
            means = [np.mean([one["stated"][what] for one in some]) for what in ("value", "low", "high")]
            real = np.mean([one["accuracy"] for one in some])
            stated_as = f"{means[0]:.1%} ({means[1]:.1%} to {means[2]:.1%})"
            rows.append([of, method, str(size), stated_as, f"{real:.1%}", f"{holds} of {len(some)}"])
    return table(["set", "method", "a class", "stated (interval)", "on test pictures", "interval holds"], rows)


def unknown_table(measured: list[dict]) -> str:
    """How many pictures of other things are answered with "I don't know", at which loss of right answers.

    The curve is of familiarity alone.
    """
    asked = [one for one in measured if one.get("others")]
    if not asked:
        return ""

    rows = []
    for (of, method), of_size in groups(asked).items():
        for size, some in sorted(of_size.items()):
            own = [np.mean([one[what] for one in some]) for what in ("caught", "lost")]
            curve = [
                np.mean([np.mean(one["others"] < np.quantile(one["right"], loss)) for one in some]) for loss in losses
            ]
            cells = [f"{own[0]:.0%} ({own[1]:.1%} lost)", *(f"{share:.0%}" for share in curve)]
            rows.append([of, method, str(size), *cells])
    head = [
        "set",
        "method",
        "a class",
        "caught by the model's own thresholds",
        *(f"at {loss:.0%} lost" for loss in losses),
    ]
    return table(head, rows)


def throughput_table(rates: dict[str, tuple[float, float]]) -> str:
    """On a machine that is busy with other work the processor's time is what tells."""
    bare = rates["bare onnxruntime loop"]
    rows = (
        [name, f"{clock:.0f}", f"{clock / bare[0]:.0%}", f"{processor / bare[1]:.0%}"]
        for name, (clock, processor) in rates.items()
    )
    return table(["what", "pictures a second", "of the bare loop", "by the processor's time"], rows)
