"""The held-out figures: what they must not claim."""

import numpy as np
import pytest
from child import embedding
from drawing import draw, save

from trainer.python.backbone import registry
from trainer.python.blocks import Blocks, unit
from trainer.python.evaluate import Evaluation, evaluate
from trainer.python.familiarity import find_prototypes, measure_familiarity
from trainer.python.head import Head, fit, softmax

features = 256
# The last quarter of the features stands for the levels.
is_level = np.arange(features) >= 192


def points(random: np.random.Generator, count: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of two classes, ``count`` each, whose means are ``distance`` apart in noise of deviation 1."""
    labels = np.repeat([0, 1], count)
    embeddings = random.normal(size=(2 * count, features))
    embeddings[:, 0] += distance * (labels - 0.5)
    return embeddings, labels


def evaluate_points(embeddings: np.ndarray, labels: np.ndarray, seed: int) -> Evaluation:
    return evaluate(Blocks(embeddings, is_level), labels, 2, seed, np.full(len(labels), -1))


def fit_chosen(embeddings: np.ndarray, labels: np.ndarray, evaluation: Evaluation) -> Head:
    head = fit(Blocks(embeddings, is_level), labels, 2, evaluation.shrinkage, evaluation.level_weight)
    return head.cooled(evaluation.temperature)


def blocks_of_length_one(embeddings: np.ndarray) -> np.ndarray:
    return np.concatenate([unit(embeddings[:, ~is_level]), unit(embeddings[:, is_level])], axis=1)


def share_much(embeddings: np.ndarray) -> np.ndarray:
    """The points far from 0, as all photos are for a network, in each of the blocks."""
    return blocks_of_length_one(embeddings + 30 * np.isin(np.arange(features), [1, 200]))


def accuracy(evaluation: Evaluation) -> tuple[float, float, float]:
    return tuple(evaluation.accuracy[key] for key in ("value", "low", "high"))


def test_noise_is_not_called_learning():
    embeddings, labels = points(np.random.default_rng(1), 40, 0)
    value, low, _ = accuracy(evaluate_points(embeddings, labels, 1))
    assert 0.3 < value < 0.7
    assert low < 0.5


def test_the_same_picture_five_times_is_one_picture():
    """Noise again: whoever has seen a copy of a picture knows its class; who has not can only guess."""
    embeddings, labels = points(np.random.default_rng(2), 40, 0)
    copies = np.repeat(embeddings, 5, axis=0) + np.random.default_rng(3).normal(0, 0.02, (400, features))
    value, low, high = accuracy(evaluate_points(copies, np.repeat(labels, 5), 1))
    assert 0.3 < value < 0.7
    # As unsure as 80 pictures are, not as sure as 400.
    assert high - low > 0.18
    # What an evaluation that ignores the copies would say: the test can fail.
    learned, asked = np.arange(400) % 5 > 0, np.arange(400) % 5 == 0
    head = fit(Blocks(copies[learned], is_level), np.repeat(labels, 5)[learned], 2, 0.1, 1)
    assert (head.logits(copies[asked]).argmax(axis=1) == labels).mean() == 1


def test_the_stated_interval_holds_what_is_true():
    """Twenty projects, half of whose pictures have a near-duplicate, against 4,000 pictures that nobody saw."""
    held = 0
    for project in range(20):
        random = np.random.default_rng([4, project])
        embeddings, labels = points(random, 20, 3.5)
        embeddings = np.concatenate([embeddings, embeddings[::2] + random.normal(0, 0.02, (20, features))])
        labels = np.concatenate([labels, labels[::2]])
        evaluation = evaluate_points(embeddings, labels, project)
        head = fit_chosen(embeddings, labels, evaluation)
        unseen, truth = points(random, 2000, 3.5)
        true = (head.logits(unseen).argmax(axis=1) == truth).mean()
        _, low, high = accuracy(evaluation)
        held += low <= true <= high
    assert held >= 18


def test_two_pictures_a_class_are_measured_and_said_to_be_few():
    embeddings, labels = points(np.random.default_rng(5), 2, 30)
    evaluation = evaluate_points(embeddings, labels, 1)
    value, low, high = accuracy(evaluation)
    assert evaluation.accuracy["images"] == 4
    assert (value, high) == (1, 1)
    assert low < 0.6


def test_a_class_that_is_one_burst_is_measured_with_little_certainty():
    """Fifty frames of a cup and fifty of a ball are two pictures: all right, and next to nothing known."""
    embeddings, labels = points(np.random.default_rng(10), 1, 5)
    frames = np.repeat(embeddings, 50, axis=0) + np.random.default_rng(11).normal(0, 0.1, (100, features))
    evaluation = evaluate_points(frames, np.repeat(labels, 50), 1)
    value, low, high = accuracy(evaluation)
    assert (evaluation.accuracy["images"], evaluation.accuracy["groups"]) == (100, 2)
    assert (value, high) == (1, 1)
    assert low < 0.5


def test_a_small_class_does_not_take_folds_from_the_others():
    embeddings, labels = points(np.random.default_rng(12), 40, 4)
    few = np.arange(42)
    assert evaluate_points(embeddings[few], labels[few], 1).accuracy["folds"] == 42


def test_a_rare_class_counts_as_much_as_a_common_one():
    """Ten pictures against 200, overlapping: whoever only wants to be right often never says the rare one."""
    random = np.random.default_rng(6)
    embeddings, labels = (array[:210] for array in points(random, 200, 1.5))
    unseen, truth = points(random, 1000, 1.5)
    head = fit(Blocks(embeddings[:, :4], np.zeros(4, dtype=bool)), labels, 2, 0.01, 0)
    said = head.logits(unseen[:, :4]).argmax(axis=1)
    assert (said[truth == 1] == 1).mean() > 0.5


def test_probabilities_mean_what_they_say():
    """Of all that it is 80 % sure of, about 80 % are right: a mean difference below a tenth (expected calibration error)."""
    random = np.random.default_rng(7)
    embeddings, labels = points(random, 60, 2)
    evaluation = evaluate_points(embeddings, labels, 1)
    head = fit_chosen(embeddings, labels, evaluation)
    unseen, truth = points(random, 2000, 2)
    odds = head.logits(unseen)
    sure = 1 / (1 + np.exp(-np.abs(odds[:, 1] - odds[:, 0])))
    right = odds.argmax(axis=1) == truth
    bins = np.digitize(sure, [0.6, 0.7, 0.8, 0.9])
    error = sum(abs(sure[bins == one].mean() - right[bins == one].mean()) * (bins == one).mean() for one in set(bins))
    assert error < 0.1


def test_i_do_not_know_costs_few_right_answers():
    """Of 4,000 unseen pictures, on average over ten choices of those that were learned: some 5 in 100 in all."""
    for count in (10, 25, 60):
        lost = []
        for seed in range(10):
            random = np.random.default_rng(seed)
            embeddings, labels = points(random, count, 12)
            unseen, truth = points(random, 2000, 12)
            embeddings, unseen = share_much(embeddings), share_much(unseen)
            evaluation = evaluate_points(embeddings, labels, seed)
            answers = softmax(fit_chosen(embeddings, labels, evaluation).logits(unseen))
            unsure = answers.max(axis=1) < (evaluation.unknown_below or 0)
            prototypes = find_prototypes(Blocks(embeddings, is_level), labels, 2, evaluation.level_weight)
            strange = measure_familiarity(unseen, prototypes) < evaluation.unfamiliar_below
            lost.append((unsure | strange)[answers.argmax(axis=1) == truth].mean())
        assert 0 < np.mean(lost) <= 0.06, count


@pytest.mark.parametrize("count", [25, 60])
def test_what_is_unlike_all_that_was_learned_is_told_from_it(count):
    """Two classes that share much, as pictures of animals do, and a third thing that does not."""
    random = np.random.default_rng(11)
    embeddings, labels = points(random, count, 12)
    unseen, truth = points(random, 500, 12)
    embeddings, unseen = share_much(embeddings), share_much(unseen)
    other = random.normal(size=(500, features)) + 2
    other[:, 0] += 14
    other = blocks_of_length_one(other)
    evaluation = evaluate_points(embeddings, labels, 1)
    prototypes = find_prototypes(Blocks(embeddings, is_level), labels, 2, evaluation.level_weight)
    assert (measure_familiarity(other, prototypes) < evaluation.unfamiliar_below).mean() > 0.95
    assert (measure_familiarity(unseen, prototypes) < evaluation.unfamiliar_below).mean() < 0.1
    # Its answer to the other thing may be as sure as can be.
    head = fit_chosen(embeddings, labels, evaluation)
    assert (softmax(head.logits(other)).max(axis=1) > (evaluation.unknown_below or 0.99)).mean() > 0.2


def test_no_prototype_is_a_picture():
    """They go into files that leave the house."""
    embeddings, labels = points(np.random.default_rng(12), 40, 6)
    embeddings = blocks_of_length_one(embeddings)
    alone = embeddings.copy()
    alone[0] *= -1
    for some in (embeddings, alone):
        prototypes = find_prototypes(Blocks(some, is_level), labels, 2, 1)
        assert (unit(some) @ unit(prototypes).T).max() < 0.99


@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_decides(seed):
    embeddings, labels = points(np.random.default_rng(9), 30, 2)
    first, again, other = (evaluate_points(embeddings, labels, one) for one in (seed, seed, seed + 10))
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_the_stated_interval_holds_for_drawn_pictures(ingest, tmp_path):
    """Twenty projects of discs and squares, 5 or 10 pictures of each, against the others; the accuracy of most is below 1."""
    labels = np.repeat([0, 1], 60)
    paths = [
        save(draw(("discs", "squares")[label], 1000 + row, 120, 90), tmp_path / f"{row}.png")
        for row, label in enumerate(labels)
    ]
    embeddings = np.stack([embedding(event) for event in ingest.ingest(paths)])
    blocks = Blocks(embeddings, registry["efficientnet-lite0"].is_level)
    held, accuracies = 0, []
    for project in range(20):
        random = np.random.default_rng([13, project])
        count = (5, 10)[project % 2]
        learned = np.concatenate([random.permutation(np.flatnonzero(labels == label))[:count] for label in range(2)])
        asked = np.setdiff1d(np.arange(len(labels)), learned)
        own = blocks.rows(learned)
        evaluation = evaluate(own, labels[learned], 2, project, np.full(len(learned), -1))
        head = fit(own, labels[learned], 2, evaluation.shrinkage, evaluation.level_weight)
        true = (head.logits(embeddings[asked]).argmax(axis=1) == labels[asked]).mean()
        _, low, high = accuracy(evaluation)
        held += low <= true <= high
        accuracies.append(true)
    assert held >= 18
    assert np.median(accuracies) < 1
