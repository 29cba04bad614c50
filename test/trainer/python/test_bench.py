"""``npm run bench -- learning`` on a handful of pictures: that it measures, not what."""

import json
import subprocess
import sys

import numpy as np
from child import root
from drawing import draw, kinds, save


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
    table = run("probe,ours")
    measured = [json.loads(line) for line in kept.read_text().splitlines()]
    # Nine of each class are more than there are; the probe was not measured again.
    assert [(one["method"], one["size"], one["seed"]) for one in measured] == [
        ("probe", 4, 0),
        ("probe", 4, 1),
        ("ours", 4, 0),
        ("ours", 4, 1),
    ]
    assert all(one["tested"] == 12 and 0.4 <= one["accuracy"] <= 1 for one in measured)
    mean = np.mean([one["accuracy"] for one in measured[2:]]) * 100
    assert f"| set | ours | {mean:.1f} ± " in table
    assert f"of {len(measured[2:])} |" in table
