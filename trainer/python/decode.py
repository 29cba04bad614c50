"""From the bytes of a stranger's file to pixels, under limits, and to a thumbnail.

What a model gets of a picture is decided here and by the backbone's graph ``preprocess`` (graphs.py), and nowhere else.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from . import facts
from .errors import Rejected

# Accepted types by Pillow's name of the format.
types = {known["name"].upper(): kind for kind, known in facts.images["types"].items()}
type_names = [known["name"] for known in facts.images["types"].values()]
thumbnail_side = facts.images["thumbnailSide"]  # pixels

# The header is checked against our own limit, which is lower than Pillow's.
Image.MAX_IMAGE_PIXELS = None


@dataclass
class Picture:
    pixels: np.ndarray
    """uint8 RGB, [height, width, 3]: the whole picture, upright."""
    type: str
    """Of its content, such as ``image/png``, whatever the file's name says."""


def open_picture(path: Path, most_pixels: int | None = None) -> Picture:
    """Decodes the file at ``path``; of an animation the first frame.

    Transparent parts become white, as the page shows them. Colour profiles are not applied: no runtime that loads an exported
    model applies them either.

    Args:
        most_pixels: the limit, which the header is checked against before anything is decoded; None for a picture that was
            accepted before.

    Raises:
        Rejected: the file is empty, of another type than those of images.json, too large, or damaged.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    if not data:
        raise Rejected("empty")
    try:
        image = Image.open(io.BytesIO(data), formats=list(types))
    except UnidentifiedImageError as error:
        raise Rejected("not-an-image", types=type_names) from error
    except Exception as error:
        raise Rejected("damaged") from error
    width, height = image.size
    if most_pixels is not None and width * height > most_pixels:
        raise Rejected(
            "too-many-pixels", width=width, height=height, limit=most_pixels, megapixels=most_pixels / 1_000_000
        )
    try:
        image.load()
        kind = types[image.format]
        ImageOps.exif_transpose(image, in_place=True)
        return Picture(np.asarray(flatten(image)), kind)
    except Exception as error:
        raise Rejected("damaged") from error


def flatten(image: Image.Image) -> Image.Image:
    """Converts to RGB, with white behind transparent parts."""
    if image.mode in ("I", "I;16", "I;16B", "F"):
        # Sixteen bits a pixel, which convert() would clip instead of scale.
        image = Image.fromarray((np.asarray(image, dtype=np.float32) / 257).clip(0, 255).astype(np.uint8))
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    transparent = image.convert("RGBA")
    white = Image.new("RGBA", transparent.size, "white")
    return Image.alpha_composite(white, transparent).convert("RGB")


def write_thumbnail(picture: Picture, path: Path) -> None:
    """Writes a WebP of at most ``thumbnail_side`` pixels on its longer side; made from pixels alone, it has no metadata."""
    image = Image.fromarray(picture.pixels)
    image.thumbnail((thumbnail_side, thumbnail_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    image.save(path, "WEBP", quality=80, method=2)
