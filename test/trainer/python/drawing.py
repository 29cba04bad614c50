"""Pictures that tests draw: three kinds that differ in pattern, each in random colours, sizes and places."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

kinds = ("stripes", "discs", "squares")


def draw(kind: str, seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """A picture of a kind: no two seeds share colours, sizes or places."""
    random = np.random.default_rng([kinds.index(kind), seed])
    back, front = (tuple(int(value) for value in random.integers(0, 256, 3)) for _ in range(2))
    image = Image.new("RGB", (width, height), back)
    pen = ImageDraw.Draw(image)
    step = int(random.integers(14, 40))
    if kind == "stripes":
        slope = int(random.integers(-60, 60))
        for x in range(-100, width + 100, step):
            pen.line([(x, 0), (x + slope, height)], fill=front, width=step // 3)
    else:
        shape = pen.ellipse if kind == "discs" else pen.rectangle
        for _ in range(int(random.integers(3, 9))):
            x, y = random.integers(0, width), random.integers(0, height)
            size = int(random.integers(8, 30))
            shape([x - size, y - size, x + size, y + size], fill=front)
    noise = random.normal(0, 12, (height, width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def save(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def white_png(width: int, height: int) -> bytes:
    """A valid one-bit PNG of any size, some kilobytes on disk, written without holding its pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    squeeze = zlib.compressobj(9)
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    data = b"".join(squeeze.compress(row) for _ in range(height)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
