"""How well and how fast a few pictures are learned, by the trainer and by simpler ways, as tables.

    npm run bench -- learning [--data DIR [DIR ...]] [--methods head,probe] [--sizes 10,25] [--seeds 2] [--keep FILE]

Each ``DIR`` holds a folder for each class, or several such folders (data.py says how their pictures are divided); without one
a set is drawn. Each measurement: ``--sizes`` pictures of each class are chosen by a seed, where a set has as many, learned, and
what was learned is asked about ``--test`` other pictures of each. Seconds are the processor's (all threads; a busy machine
changes them little), from files to what can classify, with libraries imported and pretrained networks at hand; a picture is
embedded once in a run, and its share of the seconds counts in each measurement that learns from it. With ``--keep`` every
measurement is a line of JSON in FILE, and what it holds already is not measured again: slow methods can be measured apart.
``--others DIR`` holds pictures of other things: how many of them a model answers with "I don't know". ``--picture FILE`` draws
the table of accuracies (SVG). With ``--half-alike`` half of the pictures of a class are all but the other half again.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

root = Path(__file__).parents[3]
sys.path.insert(0, str(root))

from data import PictureSet, draw_set, half_alike, pictures_in, read_sets  # noqa: E402
from methods import learn  # noqa: E402
from picture import accuracy_picture  # noqa: E402
from tables import accuracy_table, stated_table, throughput_table, unknown_table  # noqa: E402
from throughput import measure_throughput  # noqa: E402
from workbench import Workbench  # noqa: E402

import trainer.python  # noqa: E402, F401 (sets the number of OpenBLAS's threads before numpy computes)
from trainer.python.main import choose_device  # noqa: E402

default_sizes = ["2", "3", "5", "10", "25", "50", "100"]


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as folder:
        sets = [found for data in options.data for found in read_sets(data)]
        sets = sets or [draw_set(Path(folder) / "drawn shapes")]
        bench = Workbench(options.cache, options.threads, choose_device(options.device), options.tune_seconds)
        others = sorted(options.others.rglob("*.*")) if options.others else []
        others = [path for path in others if path in pictures_in(path.parent)][: options.most_others]
        done = [json.loads(line) for line in options.keep.read_text().splitlines()] if options.keep.exists() else []
        with options.keep.open("a") as keep:
            for one in (
                one for pictures in sets for one in measure(pictures, bench, others, options, done, Path(folder))
            ):
                done.append(one)
                keep.write(json.dumps(one) + "\n")
                keep.flush()
        print(accuracy_table(done))
        if options.picture:
            options.picture.write_text(accuracy_picture(done), encoding="utf-8")
        print(stated_table(done))
        print(unknown_table(done))
        if not options.no_throughput:
            print(throughput_table(measure_throughput(sets[0], bench)))


def read_options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def listed(text: str) -> list[str]:
        return text.split(",")

    options.add_argument(
        "--data", type=Path, nargs="+", default=[], help="folders of classes, or folders of such folders"
    )
    options.add_argument("--others", type=Path, help="pictures of other things, in any folders")
    options.add_argument("--most-others", type=int, default=200)
    options.add_argument("--methods", type=listed, default=["probe", "head"], help="origin and fine-tune take hours")
    options.add_argument("--sizes", type=listed, default=default_sizes, help="pictures of each class")
    options.add_argument("--seeds", type=int, default=5, help="draws of pictures for each size")
    options.add_argument("--test", type=int, default=100, help="most test pictures of each class")
    options.add_argument("--keep", type=Path, default=Path("/dev/null"))
    options.add_argument("--cache", type=Path, default=root / ".data/models")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options.add_argument("--picture", type=Path)
    options.add_argument("--tune-seconds", type=float, default=300, help="the most that tuned learns")
    options.add_argument("--half-alike", action="store_true")
    options.add_argument("--no-throughput", action="store_true")
    return options.parse_args()


def measure(
    pictures: PictureSet,
    bench: Workbench,
    others: list[Path],
    options: argparse.Namespace,
    done: list[dict],
    scratch: Path,
):
    """A measurement after the other, as they are made; those of ``done`` are left out."""
    name = f"{pictures.name}, half alike" if options.half_alike else pictures.name
    classes = list(pictures.classes)
    there = {(one["set"], one["method"], one["size"], one["seed"]) for one in done}
    for size in map(int, options.sizes):
        for seed in range(options.seeds):
            drawn = pictures.draw(size, seed, options.test)
            if drawn is None:
                continue
            chosen, tested = drawn
            truth = np.array([label for _, label in tested])
            if options.half_alike:
                chosen = half_alike(chosen, scratch / f"{name} {size} {seed}", seed)
            for method in options.methods:
                if (name, method, size, seed) in there:
                    continue
                bench.borrowed = 0.0
                began = time.process_time()
                classify, report = learn(method, bench, chosen, classes, seed)
                seconds = time.process_time() - began + bench.borrowed
                said, known = part(classify([path for path, _ in tested]), classes)
                right = said.argmax(1) == truth
                one = {"set": name, "method": method, "size": size, "seed": seed, "seconds": seconds}
                one |= {"accuracy": float(right.mean()), "tested": len(tested), "device": bench.device}
                if report:
                    one["stated"] = report["accuracy"]
                    limits = report["unknownBelow"], report["unfamiliarBelow"]
                    one["lost"] = unknown(said, known, limits)[right].mean()
                    one["right"] = known[right].round(4).tolist()
                if report and others:
                    said, known = part(classify(others), classes)
                    one["caught"] = unknown(said, known, limits).mean()
                    one["others"] = known.round(4).tolist()
                print(f"{name} {method} {size} #{seed}: {right.mean():.1%} in {seconds:.1f} s", file=sys.stderr)
                yield one


def part(answers: np.ndarray, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and the familiarity of each picture, where there is one."""
    return answers[:, : len(classes)], answers[:, len(classes) :].max(axis=1, initial=-1)


def unknown(said: np.ndarray, known: np.ndarray, limits: tuple[float | None, float | None]) -> np.ndarray:
    """As predict decides it."""
    doubt, unfamiliar = (-1 if limit is None else limit for limit in limits)
    return (said.max(axis=1) < doubt) | (known < unfamiliar)


if __name__ == "__main__":
    main()
