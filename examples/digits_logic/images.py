"""Writes the example's test images and labels as one .npz: ``python images.py digits.npz``."""

from __future__ import annotations

import sys

import numpy as np
from data import stratified_fifth


def main(path: str) -> None:
    """Save ``x`` uint8[360, 64] (pixels 0..16) and ``y`` int64[360]."""
    split = stratified_fifth()
    np.savez_compressed(path, x=split.test_images, y=split.test_labels)
    print(
        f"{path}: {len(split.test_labels)} images of 8x8 pixels, values {split.test_images.min()}..{split.test_images.max()}"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: images.py OUT.npz")
    main(sys.argv[1])
