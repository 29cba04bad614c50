"""The pictures that fine-tuning learns from: squashed once, and varied anew for every epoch."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from .decode import open_picture

# Pictures are kept a little larger than the network's input: a part of one is still sharp.
margin = 1.15


def stored_side(side: int) -> int:
    """The side of a stored picture, for a network that takes ``side``; both in pixels."""
    return round(side * margin)


def read_square(path: Path, size: int) -> np.ndarray:
    """uint8 [size, size, 3]: the whole picture, squashed to a square as everywhere. Raises Rejected."""
    pixels = Image.fromarray(open_picture(path).pixels)
    return np.asarray(pixels.resize((size, size), Image.Resampling.BILINEAR))


def vary(images: Tensor, side: int, randomness: torch.Generator) -> Tensor:
    """Makes a view of each picture at random: position, size, rotation and light, as a hand holds a toy before a camera.

    Pictures are not mirrored: a learner may teach left and right.

    Args:
        images: uint8 [N, 3, S, S].
        side: of a view, in pixels.

    Returns:
        float [N, 3, side, side] of 0 to 255.
    """
    count, device = len(images), images.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=randomness).to(device) * (high - low) + low

    turn, zoom, stretch = between(-0.26, 0.26), between(0.7, 1.05), between(0.9, 1.1)
    shift = (1 - zoom.clamp(max=1))[:, None] * between(-1, 1, 2)
    rows = [zoom * stretch * turn.cos(), -zoom * turn.sin(), shift[:, 0]]
    rows += [zoom * turn.sin(), zoom / stretch * turn.cos(), shift[:, 1]]
    grid = affine_grid(torch.stack(rows, 1).view(count, 2, 3), [count, 3, side, side], align_corners=False)
    views = grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    grey = views.mean((1, 2, 3), keepdim=True)
    views = (views - grey) * between(0.7, 1.3, 1, 1, 1) + grey * between(0.7, 1.3, 1, 1, 1)
    colourless = views.mean(1, keepdim=True)
    views = (views - colourless) * between(0.6, 1.4, 1, 1, 1) + colourless
    return (views * between(0.92, 1.08, 3, 1, 1)).clamp(0, 255)
