"""From the bytes of a stranger's file to pixels, under limits, and to a thumbnail.

What a model sees of a picture is decided here and in backbone.py's preprocessing graph, and nowhere else.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

formats = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
thumbnail_side = 256  # pixels

# The header is checked against our own limit, which is lower than Pillow's.
Image.MAX_IMAGE_PIXELS = None


class Rejected(Exception):
    """A picture that is not taken; says why in a child's words."""

    def __init__(self, code: str, message: str, **params: Any):
        super().__init__(message)
        self.reason = {"code": code, "params": params, "message": message}


@dataclass
class Picture:
    pixels: np.ndarray
    """uint8 RGB, [height, width, 3]: the whole picture, upright."""
    type: str


def open_picture(path: Path, most_pixels: int) -> Picture:
    """Decodes the file at ``path``; of an animation the first frame.

    Transparent parts become white, as the page shows them. Colour profiles are not applied: no runtime that loads an exported
    model applies them either.

    Raises:
        Rejected: it is empty, no JPEG, PNG or WebP (whatever its name says), too large (told by its header, before anything
            is decoded), or damaged.
    """
    data = path.read_bytes()
    if not data:
        raise Rejected("empty", "This file is empty: there is no picture in it.")
    try:
        image = Image.open(io.BytesIO(data), formats=list(formats))
    except UnidentifiedImageError as error:
        message = "This is not a picture that we can read. JPEG, PNG and WebP pictures work."
        raise Rejected("not-an-image", message) from error
    except Exception as error:
        raise damaged() from error
    width, height = image.size
    if width * height > most_pixels:
        message = (
            f"This picture is too large: {width} x {height} points. At most {most_pixels // 1_000_000} million work."
        )
        raise Rejected("too-many-pixels", message, width=width, height=height, limit=most_pixels)
    try:
        image.load()
        kind = formats[image.format]
        ImageOps.exif_transpose(image, in_place=True)
        return Picture(np.asarray(flatten(image)), kind)
    except Exception as error:
        raise damaged() from error


def flatten(image: Image.Image) -> Image.Image:
    """RGB, with white behind what is transparent."""
    if image.mode in ("I", "I;16", "I;16B", "F"):
        # Sixteen bits a point, which convert() would clip instead of scale.
        image = Image.fromarray((np.asarray(image, dtype=np.float32) / 257).clip(0, 255).astype(np.uint8))
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    see_through = image.convert("RGBA")
    white = Image.new("RGBA", see_through.size, "white")
    return Image.alpha_composite(white, see_through).convert("RGB")


def write_thumbnail(picture: Picture, path: Path) -> None:
    """WebP, at most 256 pixels on its longer side, made from pixels alone: no metadata of the upload gets into it."""
    image = Image.fromarray(picture.pixels)
    image.thumbnail((thumbnail_side, thumbnail_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    image.save(path, "WEBP", quality=80, method=2)


def damaged() -> Rejected:
    message = "This picture is damaged and cannot be opened. Please save it again or choose another one."
    return Rejected("damaged", message)
