"""Reads and writes the arrays of the command line: .npy, .npz, and folders of images."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from neuroloom.compiler.errors import InputError, MissingToolError
from neuroloom.compiler.ir.file import write_atomically

IMAGE_SUFFIXES = (".png", ".pgm", ".ppm", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")


def read_inputs(path: str | os.PathLike[str], names: list[str]) -> dict[str, np.ndarray] | np.ndarray:
    """Read a network's inputs. An .npz holds them by name, or one array ``x`` when there is one input.

    A folder of images is read in the order of the file names, all of one size. Raises InputError.
    """
    where = Path(path)
    if where.is_dir():
        return read_images(where)
    data = _load(where)
    if isinstance(data, np.ndarray):
        return data
    if len(names) == 1 and names[0] not in data:
        if "x" in data:
            return data["x"]
        if len(data) == 1:
            return next(iter(data.values()))
    missing = [n for n in names if n not in data]
    if missing:
        raise InputError(f"{where} must hold the arrays {', '.join(names)}, not {', '.join(data) or 'none'}")
    return {n: data[n] for n in names}


def read_calibration(path: str | os.PathLike[str]) -> dict[str, np.ndarray] | np.ndarray:
    """Calibration samples: an .npz by input name, or one array (an .npy, or ``x`` of an .npz) for a single input."""
    data = _load(Path(path))
    return data["x"] if isinstance(data, dict) and "x" in data else data


def read_array(path: str | os.PathLike[str], name: str = "y") -> np.ndarray:
    """Read one array: an .npy, or the array ``name`` (or the only one) of an .npz."""
    data = _load(Path(path))
    if isinstance(data, np.ndarray):
        return data
    if name in data:
        return data[name]
    if len(data) == 1:
        return next(iter(data.values()))
    raise InputError(f"{path} must hold an array {name!r}, not {', '.join(data)}")


def _load(where: Path) -> np.ndarray | dict[str, np.ndarray]:
    try:
        loaded = np.load(where, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
            if not all(isinstance(a, np.ndarray) for a in arrays.values()):  # numpy hands out other members as bytes
                raise ValueError("a member is no array")
            return arrays
    except OSError as e:
        raise InputError(f"{where} cannot be read: {e.strerror or e}") from e
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as e:
        raise InputError(
            f"{where} must be a whole .npy or .npz file of numbers; it is damaged or something else"
        ) from e


def read_images(folder: Path) -> np.ndarray:
    """Images of a folder as uint8[N, H, W] (grey) or [N, H, W, 3]; needs Pillow."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingToolError("reading an image folder needs Pillow; run: pip install pillow") from None
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise InputError(f"{folder} must hold images ({', '.join(IMAGE_SUFFIXES)}), not none")
    images = []
    for file in files:
        try:
            with Image.open(file) as image:
                images.append(np.asarray(image.convert("L" if image.mode in ("1", "L", "I;16", "P") else "RGB")))
        except OSError as e:
            raise InputError(f"{file} cannot be read as an image: {e}") from e
        if images[-1].shape != images[0].shape:
            raise InputError(
                f"{file} must have the size {images[0].shape[:2]} of {files[0].name}, not {images[-1].shape[:2]}"
            )
    return np.stack(images)


def write_outputs(path: str | os.PathLike[str], outputs: Mapping[str, np.ndarray]) -> Path:
    """Write results whole or not at all: .npz by output name, or .npy for a single one. Raises InputError."""
    where = Path(path)
    if where.suffix == ".npy" and len(outputs) != 1:
        raise InputError(f"{where} must end in .npz, because there are {len(outputs)} outputs: {', '.join(outputs)}")
    if where.suffix not in (".npy", ".npz"):
        raise InputError(f"output file must end in .npy or .npz, not {where.name!r}")
    buffer = io.BytesIO()
    if where.suffix == ".npy":
        np.save(buffer, next(iter(outputs.values())))
    else:
        np.savez_compressed(buffer, allow_pickle=False, **dict(outputs))
    write_atomically(where, buffer.getvalue())
    return where
