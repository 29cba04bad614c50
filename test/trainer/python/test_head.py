"""The head: the same answers by both ways to compute it, and sensible ones for few and for uneven pictures."""

import numpy as np
import pytest

from trainer.python.blocks import Blocks
from trainer.python.choice import choose, compute_held_out_logits
from trainer.python.head import fit
from trainer.python.splits import assign_folds


def make_blocks(embeddings: np.ndarray) -> Blocks:
    """The second half of the features stands for the levels."""
    features = embeddings.shape[1]
    return Blocks(embeddings, np.arange(features) >= features // 2)


def draw_points(counts: list[int], distance: float, features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    embeddings = random.normal(size=(len(labels), features))
    embeddings[np.arange(len(labels)), labels] += distance
    return embeddings, labels


@pytest.mark.parametrize("counts", [[30, 30, 30], [60, 25, 5]])
@pytest.mark.parametrize("shrinkage", [0.01, 0.3, 0.9])
def test_both_ways_to_compute_a_head_agree(counts, shrinkage):
    """90 pictures of 89 features are computed by features, of 91 by pictures; held-out logits by inner products alone."""
    embeddings, labels = draw_points(counts, 3, 91, 1)
    asked, _ = draw_points([5, 5, 5], 3, 91, 2)
    for features in (89, 91):
        own, unseen = make_blocks(embeddings[:, :features]), make_blocks(asked[:, :features])
        head = fit(own, labels, 3, shrinkage, 0.35)
        both = make_blocks(np.concatenate([own.embeddings, unseen.embeddings]))
        rows = np.arange(len(labels)), np.arange(len(labels), len(labels) + len(asked))
        every_label = np.concatenate([labels, np.zeros(len(asked), dtype=int)])
        [logits] = compute_held_out_logits(both.products(0.35), every_label, 3, *rows, (shrinkage,))
        assert np.abs(head.logits(unseen.embeddings) - logits).max() < 1e-8 * np.abs(logits).max()


@pytest.mark.parametrize("counts", [[1, 1], [2, 1], [2, 2], [1, 5], [30, 1], [2, 3, 1]])
def test_one_or_two_pictures_of_a_class_give_finite_answers(counts):
    embeddings, labels = draw_points(counts, 4, 64, 3)
    blocks, classes = make_blocks(embeddings), len(counts)
    folds = assign_folds(labels, np.arange(len(labels)), classes, 0)
    choice = choose(blocks, labels, classes, folds, np.arange(len(labels)))
    head = fit(blocks, labels, classes, choice.shrinkage, choice.level_weight).cooled(choice.temperature)
    assert np.isfinite(head.weight).all() and np.isfinite(head.bias).all()
    assert 0 < choice.temperature < np.inf


def test_copies_of_a_picture_give_finite_answers():
    embeddings, labels = draw_points([1, 1], 4, 64, 4)
    head = fit(make_blocks(np.repeat(embeddings, 6, axis=0)), np.repeat(labels, 6), 2, 0.1, 0.35)
    assert np.isfinite(head.logits(embeddings)).all()
    assert (head.logits(embeddings).argmax(axis=1) == labels).all()


def test_a_class_of_few_pictures_is_answered_beside_classes_of_many():
    """Its mean is noisy and seems longer than it is: without the correction of the bias it would hardly ever be the answer."""
    right = []
    for seed in range(5):
        embeddings, labels = draw_points([5, 50, 50], 5, 200, [5, seed])
        unseen, truth = draw_points([200, 200, 200], 5, 200, [6, seed])
        head = fit(make_blocks(embeddings), labels, 3, 0.1, 1)
        right.append([(head.logits(unseen).argmax(axis=1) == truth)[truth == label].mean() for label in range(3)])
    small, *large = np.mean(right, axis=0)
    assert small > 0.6
    assert min(large) > 0.9


def test_a_head_depends_on_nothing_but_what_it_is_given():
    embeddings, labels = draw_points([20, 20], 2, 300, 7)
    blocks, folds = make_blocks(embeddings), np.arange(40) % 5
    first, again = (choose(blocks, labels, 2, folds, np.arange(40)) for _ in range(2))
    assert np.array_equal(first.logits, again.logits)
    assert (first.shrinkage, first.level_weight, first.temperature) == (
        again.shrinkage,
        again.level_weight,
        again.temperature,
    )


def test_levels_count_more_where_they_tell_classes_apart_than_where_they_are_noise():
    random = np.random.default_rng(8)
    noise, labels = random.normal(size=(80, 400)), np.repeat([0, 1], 40)
    weights = []
    for informative in (0, 200):
        embeddings = noise.copy()
        embeddings[:, informative : informative + 200] += 0.15 * (2 * labels[:, None] - 1)
        weights.append(choose(make_blocks(embeddings), labels, 2, np.arange(80) % 5, np.arange(80)).level_weight)
    assert weights[0] < weights[1] == 1
