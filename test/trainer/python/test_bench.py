"""``npm run bench -- learning`` on a handful of pictures: that it measures, not what."""

import json
import subprocess
import sys

import numpy as np
from child import root
from drawing import draw, kinds, save

sys.path.insert(0, str(root / "test/bench/learning"))

from data import group_of, number_bursts, read_sets  # noqa: E402


def test_it_measures_each_method_once_and_keeps_what_it_measured(cache, tmp_path):
    for kind in kinds:
        for part, seeds in {"train": range(6), "test": range(50, 54)}.items():
            (tmp_path / "set" / kind / part).mkdir(parents=True)
            for seed in seeds:
                save(draw(kind, seed), tmp_path / "set" / kind / part / f"{seed}.png")
    kept = tmp_path / "kept.jsonl"
    command = [sys.executable, root / "test/bench/learning/main.py", "--data", tmp_path / "set", "--keep", kept]
    command += ["--sizes", "4,9", "--seeds", "2", "--cache", cache, "--device", "cpu", "--no-throughput"]

    def run(methods: str) -> str:
        done = subprocess.run([*command, "--methods", methods], check=True, capture_output=True, text=True)
        return done.stdout

    assert "| set | probe |" in run("probe")
    table = run("probe,head")
    measured = [json.loads(line) for line in kept.read_text().splitlines()]
    # Nine of each class are more than there are; the probe was not measured again.
    assert [(one["method"], one["size"], one["seed"]) for one in measured] == [
        ("probe", 4, 0),
        ("probe", 4, 1),
        ("head", 4, 0),
        ("head", 4, 1),
    ]
    assert all(one["tested"] == 12 and 0.4 <= one["accuracy"] <= 1 for one in measured)
    mean = np.mean([one["accuracy"] for one in measured[2:]]) * 100
    assert f"| set | head | {mean:.1f} ± " in table
    assert f"of {len(measured[2:])} |" in table
    # The head of the first version, for comparison.
    assert "| set | logistic |" in run("logistic")


def test_groups_and_parts_of_a_set_are_on_one_side(tmp_path):
    for name in ("bursts/up", "bursts/down", "parts/one", "parts/two", "plain/one", "plain/two"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(40):
            side = "part-a" if number < 30 else "part-b"
            file = {"bursts": f"b{number // 5}-{number}", "parts": f"{side}{number}-0", "plain": str(number)}
            save(draw("discs", number, 20, 20), tmp_path / name / f"{file[name.split('/')[0]]}.png")
    bursts, parts, plain = read_sets(tmp_path)
    for seed in range(5):
        learned, asked = bursts.draw(12, seed, 100)
        assert len(learned) == 24 and len(asked) >= 40
        assert not {group_of(path) for path, _ in learned} & {group_of(path) for path, _ in asked}
        assert len(set(number_bursts([path for path, _ in learned]))) == 6
        learned, asked = parts.draw(12, seed, 100)
        assert all(path.name.startswith("part-a") for path, _ in learned)
        assert len(asked) == 20 and all(path.name.startswith("part-b") for path, _ in asked)
        learned, asked = plain.draw(12, seed, 5)
        assert len(learned) == 24 and len(asked) == 10 and not {*learned} & {*asked}
        assert set(number_bursts([path for path, _ in learned])) == {-1}
    assert bursts.draw(12, 1, 100) == bursts.draw(12, 1, 100)
    assert bursts.draw(12, 1, 100) != bursts.draw(12, 2, 100)
    assert plain.draw(30, 1, 100) is None
