"""Sets of labelled pictures: from folders, or drawn here."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

suffixes = {".jpg", ".jpeg", ".png", ".webp"}
# Pictures of a class that are left to ask about, where the set does not say itself which these are.
least_tested = 40
drawn_pictures = 200

Labelled = list[tuple[Path, int]]


@dataclass
class PictureClass:
    train: list[Path]
    """Pictures that may be learned from."""
    test: list[Path]
    """Pictures that are asked about; without any, those of the groups that were not learned from."""

    def draw(self, size: int, random: np.random.Generator) -> tuple[list[Path], list[Path]] | None:
        """@returns ``size`` pictures to learn from and the others to ask about; None where there are too few."""
        if self.test:
            order = [self.train[at] for at in random.permutation(len(self.train))]
            return (
                (order[:size], [self.test[at] for at in random.permutation(len(self.test))])
                if len(order) >= size
                else None
            )
        groups: dict[Path, list[Path]] = {}
        for path in self.train:
            groups.setdefault(group_of(path), []).append(path)
        learned, asked = [], []
        members = list(groups.values())
        for at in random.permutation(len(members)):
            (asked if len(learned) >= size else learned).extend(members[at])
        enough = len(learned) >= size and len(asked) >= min(least_tested, len(self.train) // 2)
        return (learned[:size], asked) if enough else None


@dataclass
class PictureSet:
    name: str
    classes: dict[str, PictureClass]

    def draw(self, size: int, seed: int, most_tested: int) -> tuple[Labelled, Labelled] | None:
        """@returns pictures with their class to learn from, ``size`` of each, and to ask about; None where one has too few."""
        random = np.random.default_rng([seed, size])
        drawn = [own.draw(size, random) for own in self.classes.values()]
        if None in drawn:
            return None
        learned = [(path, label) for label, (paths, _) in enumerate(drawn) for path in paths]
        return learned, [(path, label) for label, (_, paths) in enumerate(drawn) for path in paths[:most_tested]]


def group_of(path: Path) -> Path:
    """Pictures of one group, ``GROUP-NUMBER.jpg``, never stand on both sides; in ``train`` and ``test`` each is its own group."""
    group, dash, _ = path.stem.rpartition("-")
    return path.with_name(group) if dash and path.parent.name not in ("train", "test") else path


def number_bursts(paths: list[Path]) -> list[int]:
    """For each picture the number of its group, as frames of a burst have one, or -1 where it is alone."""
    groups = [group_of(path) for path in paths]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups)) if groups.count(group) > 1}
    return [numbers.get(group, -1) for group in groups]


def pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes) if folder.is_dir() else []


def is_class(folder: Path) -> bool:
    return bool(pictures_in(folder) or pictures_in(folder / "train"))


def read_sets(folder: Path) -> list[PictureSet]:
    """``folder`` holds a folder for each class, or folders that do.

    A class's pictures lie in its folder, or in ``train`` and ``test`` in it. In its folder, names that begin with ``part-a`` are
    learned from and those with ``part-b`` are asked about; other pictures are divided by each draw, groups of them together.
    """
    inside = sorted(one for one in folder.iterdir() if one.is_dir())
    classes = [one for one in inside if is_class(one)]
    if not classes:
        found = [one for child in inside for one in read_sets(child)]
        if not found:
            raise SystemExit(f"--data expects a folder for each class in {folder}, with pictures in it; there is none.")
        return found
    return [PictureSet(folder.name, {one.name: read_class(one) for one in classes})]


def read_class(folder: Path) -> PictureClass:
    mixed = pictures_in(folder)
    asked = [path for path in mixed if path.name.startswith("part-b")]
    learned = [path for path in mixed if path not in asked]
    return PictureClass(pictures_in(folder / "train") or learned, pictures_in(folder / "test") or asked)


def half_alike(chosen: Labelled, folder: Path, seed: int) -> Labelled:
    """As many pictures, the second half of each class being the first half again: as the next frame of a burst would be."""
    random = np.random.default_rng(seed)
    found = []
    for label in sorted({label for _, label in chosen}):
        paths = [path for path, of in chosen if of == label]
        own = paths[: (len(paths) + 1) // 2]
        found += [(path, label) for path in own]
        for number, path in enumerate(own[: len(paths) - len(own)]):
            with Image.open(path) as image:
                again = next_frame(image.convert("RGB"), random)
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{label} {number}.jpg"
            again.save(file, quality=85)
            found.append((file, label))
    return found


def next_frame(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """A little turned, moved and lit otherwise."""
    turned = image.rotate(random.uniform(-3, 3), Image.Resampling.BILINEAR)
    width, height = turned.size
    left, top, right, bottom = random.uniform(0.02, 0.05, 4)
    part = turned.crop((width * left, height * top, width * (1 - right), height * (1 - bottom)))
    light = random.uniform(0.9, 1.1)
    return part.point(lambda value: min(255, value * light))


def draw_set(folder: Path) -> PictureSet:
    """Five shapes, small, turned, in any colour, before clutter: what a picture shows is neither its colour nor its ground."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in shapes:
        (folder / kind).mkdir(exist_ok=True)
        for number in range(drawn_pictures):
            draw(kind, number).save(folder / kind / f"{number}.jpg", quality=85)
    return read_sets(folder)[0]


# Corners in turns of a circle and shares of the radius.
shapes = {
    "triangle": [(turn / 3, 1.0) for turn in range(3)],
    "square": [(turn / 4, 1.0) for turn in range(4)],
    "star": [(turn / 10, 1.0 if turn % 2 == 0 else 0.42) for turn in range(10)],
    "cross": [
        (turn / 8 + shift, 1.0 if turn % 2 else 0.4)
        for turn in range(8)
        for shift in ((-0.04, 0.04) if turn % 2 else (0,))
    ],
    "hexagon": [(turn / 6, 1.0) for turn in range(6)],
}


def draw(kind: str, number: int, side: int = 320) -> Image.Image:
    random = np.random.default_rng([list(shapes).index(kind), number])

    def colour() -> tuple[int, ...]:
        return tuple(int(value) for value in random.integers(0, 256, 3))

    image = Image.new("RGB", (side, side), colour())
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        x, y, size = (int(value) for value in random.integers(0, side, 3))
        form = random.choice(["ellipse", "line", "arc"])
        box = [x - size // 4, y - size // 4, x + size // 4, y + size // 4]
        if form == "ellipse":
            pen.ellipse(box, fill=colour())
        elif form == "line":
            pen.line(box, fill=colour(), width=int(random.integers(2, 14)))
        else:
            pen.arc(box, 0, int(random.integers(60, 300)), fill=colour(), width=6)
    radius = random.uniform(0.16, 0.3) * side
    x, y = random.uniform(radius, side - radius, 2)
    turned, squeezed = random.uniform(0, 1), random.uniform(0.7, 1)
    corners = [
        (
            x + radius * far * math.cos(2 * math.pi * (turn + turned)),
            y + radius * far * squeezed * math.sin(2 * math.pi * (turn + turned)),
        )
        for turn, far in shapes[kind]
    ]
    pen.polygon(corners, fill=colour(), outline=colour(), width=3)
    image = image.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 1.5))))
    noise = random.normal(0, 10, (side, side, 3))
    return Image.fromarray((np.asarray(image) * random.uniform(0.6, 1.1) + noise).clip(0, 255).astype(np.uint8))
