"""What the report says of pictures, and what it advises."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trainer.python.blocks import Blocks
from trainer.python.evaluate import evaluate
from trainer.python.records import Records, record_type
from trainer.python.report import describe, next_step, recommend_backbone


def points(counts: list[int], distance: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    embeddings = random.normal(size=(len(labels), 128))
    embeddings[np.arange(len(labels)), labels] += distance
    return embeddings, labels


def report(embeddings: np.ndarray, labels: np.ndarray, backgrounds: list[float | None] | None = None) -> dict:
    classes = [f"c{label}" for label in range(labels.max() + 1)]
    rows = np.zeros(len(labels), record_type(embeddings.shape[1]))
    rows["id"], rows["class"], rows["burst"] = [f"i{row}" for row in range(len(labels))], labels, -1
    records = Records(classes, rows, Path(), Path())
    blocks = Blocks(embeddings, np.arange(128) >= 100)
    evaluation = evaluate(blocks, labels, len(classes), 1, records.bursts)
    model = SimpleNamespace(evaluation=evaluation, records=records, backbone=SimpleNamespace(name="efficientnet-lite0"))
    return describe(model, backgrounds or [None] * len(classes))


def mislabelled() -> tuple[np.ndarray, np.ndarray]:
    embeddings, labels = points([40, 40], 14)
    labels[[3, 7, 11]] = 1
    return embeddings, labels


def burst(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    embeddings[1:12] = embeddings[0] + np.random.default_rng(2).normal(0, 0.01, (11, 128))
    return embeddings, labels


@pytest.mark.parametrize(
    ("pictures", "code", "params"),
    [
        (points([4, 40], 14), "more-pictures", {"class": "c0", "images": 4}),
        (points([30, 150], 14), "more-pictures", {"class": "c0", "images": 30}),
        (burst(*points([14, 40], 14)), "different-pictures", {"class": "c0", "images": 14, "kinds": 3}),
        (burst(*points([12, 40], 14)), "single-burst", {"class": "c0"}),
        (mislabelled(), "check-pictures", {"count": 3}),
        (points([40, 40, 40], 14), "try", {}),
    ],
)
def test_the_next_step_is_what_the_pictures_lack(pictures, code, params):
    assert report(*pictures)["next"] == {"code": code, "params": params}


@pytest.mark.parametrize(
    ("distance", "backgrounds", "code"),
    [
        (14, [0.4, 1.2, 1.1], "background"),
        (14, [0.4, 0.9, None], "try"),
        # One that is hardly told apart is known by nothing yet.
        (1, [1.2, 1.2, 1.2], "tell-apart"),
    ],
)
def test_a_class_that_is_known_by_its_background_is_named(distance, backgrounds, code):
    step = report(*points([40, 40, 40], distance), backgrounds)["next"]
    assert step["code"] == code
    assert code != "background" or step["params"] == {"class": "c1"}


def test_a_class_of_one_burst_says_so():
    classes = report(*burst(*points([12, 40], 14)))["classes"]
    assert [entry["singleBurst"] for entry in classes] == [True, False]


def test_two_classes_that_are_mixed_up_are_named():
    embeddings, labels = points([60, 60, 60], 14)
    embeddings[labels == 1, :3] = embeddings[labels == 0, :3]
    step = report(embeddings, labels)["next"]
    assert step["code"] == "tell-apart"
    assert {step["params"]["class"], step["params"]["said"]} == {"c0", "c1"}
    assert step["params"]["count"] > 10


def test_wrong_pictures_are_the_hardest_and_copies_stand_together():
    told = report(*mislabelled())
    assert {one["image"] for one in told["suspects"]} == {"i3", "i7", "i11"}
    assert [one["image"] for one in told["hardest"][:3]] == [one["image"] for one in told["suspects"]]
    losses = [one["loss"] for one in told["hardest"]]
    assert losses == sorted(losses, reverse=True)
    assert all(one["said"] == "c0" and one["class"] == "c1" for one in told["suspects"])
    assert report(*burst(*points([40, 40], 14)))["duplicates"] == [[f"i{row}" for row in range(12)]]
    assert report(*points([40, 40], 14))["duplicates"] == []


def test_the_curve_grows_with_what_was_learned_from():
    curve = report(*points([60, 60], 2.5))["curve"]
    assert [point["images"] for point in curve] == [24, 48, 72, 96]
    assert curve[-1]["accuracy"] > curve[0]["accuracy"] + 0.03
    # A class of two pictures is no reason to fail.
    assert len(report(*points([2, 2], 14))["curve"]) >= 1


@pytest.mark.parametrize(
    ("backbone", "images", "accuracy", "code"),
    [
        ("efficientnet-lite0", 25, 0.8, "sharper-eyes"),
        ("efficientnet-lite0", 24, 0.8, "try"),
        ("efficientnet-lite0", 25, 0.96, "try"),
        ("efficientnet-lite0-320", 100, 0.8, "try"),
    ],
)
def test_another_backbone_is_recommended_where_it_was_measured_to_be_better(backbone, images, accuracy, code):
    labels = np.repeat([0, 1], images)
    classes = [
        {"name": name, "images": images, "accuracy": accuracy, "background": None, "singleBurst": False}
        for name in "ab"
    ]
    confusion = [[images - 1, 1], [1, images - 1]]
    report = {"classes": classes, "accuracy": {"value": accuracy}, "confusion": confusion, "suspects": [], "curve": []}
    step = next_step(report, labels, np.arange(len(labels)), backbone)
    assert step["code"] == code
    if code == "sharper-eyes":
        assert step["params"] == {"backbone": "efficientnet-lite0-320", "points": 1.4, "cost": 2}


def test_a_recommendation_needs_a_measured_gain():
    assert recommend_backbone("efficientnet-lite0", 100).name == "efficientnet-lite0-320"
    assert recommend_backbone("efficientnet-lite0-lite2", 100) is None
