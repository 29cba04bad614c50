"""Near-duplicates and bursts: what counts as one picture, and stays on one side."""

import tracemalloc

import numpy as np
import pytest

from trainer.python.blocks import unit
from trainer.python.splits import assign_folds, find_single_bursts, group_near_duplicates, sample_rows


def none(labels: np.ndarray) -> np.ndarray:
    return np.full(len(labels), -1)


def draw_scenes(scenes: int, frames: int, seed: int = 1) -> np.ndarray:
    """Frames of some scenes, in a row; all share much, as drawings on white paper do."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.normal(size=(scenes, 64)) + 5, frames, axis=0)
    return unit(centres + 0.1 * random.normal(size=centres.shape)).astype(np.float32)


def test_frames_of_a_scene_are_one_group_and_other_scenes_are_not():
    groups = group_near_duplicates(draw_scenes(6, 4), np.repeat([0, 1], 12), none(np.zeros(24)))
    assert groups.tolist() == np.repeat(np.arange(6), 4).tolist()


def test_pictures_of_two_classes_are_never_one_group():
    """The same scene with and without a cup is what a learner shows."""
    labels = np.tile([0, 1], 8)
    groups = group_near_duplicates(draw_scenes(4, 4), labels, none(labels))
    assert len(np.unique(groups)) == 8
    for group in np.unique(groups):
        assert len(np.unique(labels[groups == group])) == 1


def test_what_is_alike_through_others_is_one_group():
    """A slow pan: each frame is like the next one, the first is not like the last. Blocks of rows must not cut it."""
    angles = np.linspace(0, np.pi, 600)
    pan = np.stack([np.cos(angles), np.sin(angles), np.zeros(600)], axis=1)
    rest = np.stack([np.zeros(600), np.zeros(600), np.repeat([-4.0, 4.0], 300)], axis=1)
    labels = np.repeat([0, 1], 600)
    groups = group_near_duplicates(np.concatenate([pan, -pan + rest]), labels, none(labels))
    assert len(np.unique(groups[:600])) == 1


def test_a_burst_is_one_group_however_different_its_frames_are():
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1], 10)
    bursts = np.array([3, 3, 3, -1, -1, 9, 9, -1, -1, -1, 3, 3, *[-1] * 8])
    groups = group_near_duplicates(random.normal(size=(20, 64)), labels, bursts)
    assert len(set(groups[:3])) == len(set(groups[5:7])) == len(set(groups[10:12])) == 1
    # The number of a burst that has frames in two classes is one of each of them.
    assert groups[0] != groups[10]
    assert len(np.unique(groups)) == 20 - 2 - 1 - 1


@pytest.mark.parametrize("bursts", [3, 8, 20])
@pytest.mark.parametrize("leave_one_out", [True, False])
def test_a_burst_is_on_one_side_and_each_class_is_on_both(bursts, leave_one_out):
    labels = np.repeat([0, 1], 5 * bursts)
    groups = np.repeat(np.arange(2 * bursts), 5)
    for seed in range(5):
        folds = assign_folds(labels, groups, 2, seed, leave_one_out)
        assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
        assert all(set(labels[folds != fold]) == {0, 1} for fold in np.unique(folds))
    assert len(np.unique(folds)) == (2 * bursts if leave_one_out and bursts == 3 else min(5, bursts))


def test_a_class_of_one_burst_is_found_and_split_all_the_same():
    labels, groups = np.array([0] * 6 + [1] * 6), np.array([0] * 6 + [1, 2, 3, 4, 5, 6])
    assert find_single_bursts(labels, groups, 2) == [True, False]
    assert len(np.unique(assign_folds(labels, groups, 2, 1)[:6])) > 1


def test_memory_grows_with_the_number_of_pictures_alone():
    """Ten thousand frames of one scene, all alike: the numbers of their pairs would be 800 MB."""
    random = np.random.default_rng(3)
    scenes = random.normal(size=(2, 1280)).astype(np.float32)
    labels = np.repeat([0, 1], [10_000, 1000])
    frames = scenes[labels] + 0.01 * random.normal(size=(len(labels), 1280)).astype(np.float32)
    tracemalloc.start()
    groups = group_near_duplicates(frames, labels, none(labels))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(groups)) == 2
    assert most < 300 * 2**20


def test_a_sample_keeps_small_classes():
    labels = np.repeat([0, 1, 2], [500, 20, 3])
    rows = sample_rows(labels, 60, 1)
    assert np.bincount(labels[rows]).tolist() == [37, 20, 3]
    assert rows.tolist() == sorted(set(rows.tolist()))
