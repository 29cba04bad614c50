"""The images that a training learns from: one list, from which labels, embeddings, files and pictures are read."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from . import facts
from .errors import BadInput, Rejected, TooFewImages

least_classes, least_images = facts.thresholds["leastClasses"], facts.thresholds["leastImages"]


def record_type(features: int, *columns: tuple) -> np.dtype:
    """A record of the file that the request ``train`` names: 36 bytes ASCII, int32, int32 and float32, little endian.

    ``burst`` is a number that the frames of one burst share, and -1 for an image that belongs to none.
    """
    return np.dtype([("id", "S36"), ("class", "<i4"), ("burst", "<i4"), ("embedding", "<f4", (features,)), *columns])


@dataclass(frozen=True)
class Records:
    """Images with what is known about each; a row is one image, in every column and in everything that is computed from them."""

    classes: list[str]
    """Names, in the order of the probabilities."""
    rows: np.ndarray
    """``record_type`` [N]; ``with_pictures`` adds the column ``picture``."""
    originals: Path
    """The folder of the originals, named by their image's id; some or all may be missing."""
    thumbnails: Path
    """The folder of the thumbnails, in the same way."""

    def __post_init__(self):
        """Raises TooFewImages where a model cannot be made of these."""
        images = np.bincount(self.labels, minlength=len(self.classes))
        if len(images) < least_classes or images.min() < least_images:
            raise TooFewImages

    @cached_property
    def ids(self) -> list[str]:
        return [identifier.decode("ascii") for identifier in self.rows["id"]]

    @cached_property
    def labels(self) -> np.ndarray:
        """int [N], from 0"""
        return self.rows["class"].astype(int)

    @cached_property
    def bursts(self) -> np.ndarray:
        """int [N]: the burst of each image; negative where it belongs to none."""
        return self.rows["burst"].astype(int)

    @property
    def embeddings(self) -> np.ndarray:
        """float32 [N, features]"""
        return self.rows["embedding"]

    @property
    def pictures(self) -> np.ndarray:
        """uint8 [N, side, side, 3], of records ``with_pictures``"""
        return self.rows["picture"]

    def with_original(self) -> list[int]:
        """The rows whose original is there."""
        return self.with_file_in(self.originals)

    def with_thumbnail(self) -> list[int]:
        """The rows whose thumbnail is there."""
        return self.with_file_in(self.thumbnails)

    def with_file_in(self, folder: Path) -> list[int]:
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        return [row for row, name in enumerate(self.ids) if name in names]

    def original(self, row: int) -> Path:
        return self.originals / self.ids[row]

    def thumbnail(self, row: int) -> Path:
        return self.thumbnails / self.ids[row]

    def with_pictures(self, side: int, read: Callable[[Path], np.ndarray], pool: Executor) -> "Records":
        """The records whose original is there and can be decoded, with the column ``picture``: the only place that drops rows.

        Args:
            side: of a picture, in pixels.
            read: decodes an original to uint8 [side, side, 3], or raises Rejected.

        Raises:
            TooFewImages: a class has too few of them.
        """
        rows = np.empty(len(self.rows), record_type(self.embeddings.shape[1], ("picture", "u1", (side, side, 3))))
        for name in self.rows.dtype.names:
            rows[name] = self.rows[name]

        def fill(row: int) -> int | None:
            try:
                rows["picture"][row] = read(self.original(row))
            except Rejected:
                return None
            return row

        kept = [row for row in pool.map(fill, self.with_original()) if row is not None]
        return Records(self.classes, rows if len(kept) == len(rows) else rows[kept], self.originals, self.thumbnails)


def read_records(path: Path, classes: list[str], features: int, originals: Path, thumbnails: Path) -> Records:
    """Reads and checks the records of a request.

    Raises:
        BadInput: the file is none of records of so many features, or a record has an unknown class, an id that is no ASCII
            text or an embedding that is not finite.
        TooFewImages: there are too few classes, or too few images of one.
    """
    kind = record_type(features)
    size = path.stat().st_size
    if size % kind.itemsize:
        raise BadInput(f"Expected records of {kind.itemsize} bytes ({features} features), got {size} bytes in {path}.")
    rows = np.fromfile(path, kind)
    unknown = rows["class"][(rows["class"] < 0) | (rows["class"] >= len(classes))]
    if len(unknown):
        raise BadInput(f"Expected class indices from 0 to {len(classes) - 1}, got {unknown[0]}.")
    if not np.isfinite(rows["embedding"]).all():
        raise BadInput("Expected embeddings of finite numbers, got others: compute them again.")
    if any(not identifier.isascii() for identifier in rows["id"]):
        raise BadInput("Expected image ids in ASCII, got other bytes.")
    return Records(classes, rows, originals, thumbnails)


def spread(rows: list[int], count: int) -> list[int]:
    """At most ``count`` of the rows, in equal steps from the first."""
    step = max(1.0, len(rows) / count)
    return [rows[int(index * step)] for index in range(min(count, len(rows)))]
