"""Sets of labelled pictures: from folders, or drawn here."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

suffixes = {".jpg", ".jpeg", ".png", ".webp"}
# Of a folder that does not say itself what is for testing.
test_share = 0.5
drawn_pictures = 200


@dataclass
class PictureSet:
    name: str
    classes: list[str]
    train: list[list[Path]]
    """Of each class, what methods may choose from."""
    test: list[list[Path]]

    def choose(self, size: int, seed: int) -> list[tuple[Path, int]] | None:
        """``size`` pictures of each class with its number; None where a class has fewer."""
        if min(map(len, self.train)) < size:
            return None
        order = np.random.default_rng(seed)
        return [
            (paths[at], label) for label, paths in enumerate(self.train) for at in order.permutation(len(paths))[:size]
        ]

    def tested(self, most: int) -> list[tuple[Path, int]]:
        return [(path, label) for label, paths in enumerate(self.test) for path in paths[:most]]


def pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes) if folder.is_dir() else []


def is_class(folder: Path) -> bool:
    return bool(pictures_in(folder) or pictures_in(folder / "train"))


def read_sets(folder: Path) -> list[PictureSet]:
    """``folder`` holds a folder for each class, or folders that do.

    A class's pictures lie in its folder, or in ``train`` and ``test`` in it.
    """
    inside = sorted(one for one in folder.iterdir() if one.is_dir())
    classes = [one for one in inside if is_class(one)]
    if not classes:
        found = [one for child in inside for one in read_sets(child)]
        if not found:
            raise SystemExit(f"--data expects a folder for each class in {folder}, with pictures in it; there is none.")
        return found
    train, test = [], []
    for one in classes:
        mixed = pictures_in(one)
        np.random.default_rng(0).shuffle(mixed)
        cut = round(len(mixed) * (1 - test_share))
        train.append(pictures_in(one / "train") or mixed[:cut])
        test.append(pictures_in(one / "test") or mixed[cut:])
    return [PictureSet(folder.name, [one.name for one in classes], train, test)]


def half_alike(chosen: list[tuple[Path, int]], folder: Path, seed: int) -> list[tuple[Path, int]]:
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
            file = folder / f"{label}-{number}.jpg"
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
