"""Divides pictures into groups of those that are alike, and groups into folds, so that what is alike stays on one side."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Cosine of two pictures of one class, after the project's mean is subtracted, above which they count as one picture. Different
# pictures stay below in 99.9 of 100 cases on 7 sets; frames of a burst have their 5th percentile at 0.77 to 0.83.
near_duplicate = 0.80
most_folds = 5
# Projects up to this size with a class of few groups leave out one group at a time: folds would leave too little to learn from.
leave_one_out_images, few_groups = 100, 5
# Pictures that are compared with one another at once, which bounds the memory.
block_rows, compared_rows = 256, 2048


def group_near_duplicates(last_layer: np.ndarray, labels: np.ndarray, bursts: np.ndarray) -> np.ndarray:
    """int [N]: a group number for each picture. Pictures of one class that are alike, directly or through others, share a group.

    So do pictures of one class with the same burst. Cosines are taken after the project's mean is subtracted, because all
    drawings on white paper look alike to the network. Memory grows with N alone: a block of rows is compared at a time.

    Args:
        last_layer: float [N, features] of ``Blocks``.
        bursts: int [N]; negative where a picture belongs to none.
    """
    centred = last_layer.astype(np.float32)
    centred -= last_layer.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    groups = np.arange(len(labels))
    first_of: dict[tuple[int, int], int] = {}
    for row in np.flatnonzero(bursts >= 0):
        groups[row] = first_of.setdefault((int(labels[row]), int(bursts[row])), row)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for start in range(0, len(members), block_rows):
            # Each pair is compared once: the pictures of a block with themselves and with those before them.
            block = members[start : start + block_rows]
            groups = merge(groups, *find_links(centred, groups, block, members[: start + block_rows]))
    return np.unique(groups, return_inverse=True)[1]


def find_links(
    centred: np.ndarray, groups: np.ndarray, block: np.ndarray, compared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of ``block`` that are like another of ``compared``, and the group of that: int [links] each.

    One link of a picture with each group is enough: where all pictures are alike there would be millions.
    """
    own, links = centred[block], []
    for start in range(0, len(compared), compared_rows):
        others = compared[start : start + compared_rows]
        others = others[np.argsort(groups[others], kind="stable")]
        linked, starts = np.unique(groups[others], return_index=True)
        alike = np.logical_or.reduceat(own @ centred[others].T > near_duplicate, starts, axis=1)
        rows, columns = np.nonzero(alike)
        links.append(block[rows] * len(groups) + linked[columns])
    return np.divmod(np.unique(np.concatenate(links)), len(groups))


def merge(groups: np.ndarray, pictures: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """int [N]: the groups after the picture ``pictures[k]`` was put into the group ``linked[k]``, for all k."""
    # Pictures are the nodes 0 to N - 1, groups the nodes N to 2 N - 1.
    count = len(groups)
    rows = np.concatenate([pictures, np.arange(count)])
    columns = count + np.concatenate([linked, groups])
    edges = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(2 * count, 2 * count))
    return np.unique(connected_components(edges, directed=False)[1][:count], return_inverse=True)[1]


def assign_folds(
    labels: np.ndarray, groups: np.ndarray, classes: int, seed: int, leave_one_out: bool = True
) -> np.ndarray:
    """int [N]: the fold of each picture. Groups stay whole, and each class is spread evenly.

    There are at most ``most_folds``, or where pictures are few as many as groups; never that without ``leave_one_out``.

    A class that is one group (a single burst) is split all the same, for else it could not be judged at all; the report warns
    about it (``find_single_bursts``).
    """
    shuffled = np.random.default_rng(seed)
    members: list[list[np.ndarray]] = []
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        own = [rows[groups[rows] == group] for group in np.unique(groups[rows])]
        own = own if len(own) > 1 else list(rows[:, None])
        shuffled.shuffle(own)
        members.append(sorted(own, key=len, reverse=True))
    folds = np.zeros(len(labels), dtype=int)
    if leave_one_out and min(map(len, members)) <= few_groups and len(labels) <= leave_one_out_images:
        for fold, rows in enumerate(rows for own in members for rows in own):
            folds[rows] = fold
        return folds
    # A class of two pictures is in two of the folds; the others may have more.
    count = min(most_folds, max(map(len, members)))
    for own in members:
        sizes = np.zeros(count)
        for rows in own:
            fold = int(sizes.argmin())
            folds[rows] = fold
            sizes[fold] += len(rows)
    return folds


def find_single_bursts(labels: np.ndarray, groups: np.ndarray, classes: int) -> list[bool]:
    """Whether the pictures of a class, several of them, are all one group: held-out accuracy says little about it then."""
    members = [groups[labels == label] for label in range(classes)]
    return [len(own) > 1 and len(np.unique(own)) == 1 for own in members]


def sample_rows(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most ``most`` rows, ascending; classes take turns, so that small classes keep all of theirs."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        rank[rows] = np.arange(len(rows))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:most])
