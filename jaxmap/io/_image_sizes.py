"""Heights and widths of images: from the headers of the image files, or from a table.

A size is that of the image as OpenCV and Ultralytics show it: a JPEG whose EXIF orientation turns it by a quarter has
its height and width exchanged. Only headers are read, so an image of any size takes little memory.

References: EXIF 2.3, orientation; Ultralytics data/utils.py, `exif_size`.
"""

from __future__ import annotations

import pathlib
import re
import struct
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._progress import counted
from ..types import HostArray, Ints
from ._files import PathLike, open_file
from ._lines import image_name, shown
from ._side_files import places_of_images, read_table

__all__ = ["names_in_table", "sizes_in_table", "sizes_of_files"]

_NAMES = ("image_id", "file_name", "image")  # the first that a table has names its images
_ORIENTATION = 274  # the number of the tag in EXIF
_QUARTER_TURNS = (5, 6, 7, 8)
_RAW = (".dng",)  # Pillow reads the preview inside, which has another size
_LARGEST = 1 << 24  # of a height or width; a larger one is a mistake


def sizes_of_files(paths: Sequence[str]) -> Ints:
    """Returns `[N, 2]` int64, the height and width of image files.

    Raises:
      OSError: if a file cannot be read.
      ValueError: if a file is not an image that Pillow can read; the message names it.
      ImportError: if Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            'sizes of images need Pillow, which is not installed: pip install "jaxmap[yolo]"; or give the sizes in a '
            "table, by `image_sizes` or --image-sizes"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # no pixels are read
        sizes = [_size_of(path, Image) for path in counted(paths, "images", len(paths))]
        return np.array(sizes, np.int64).reshape(-1, 2)


def _size_of(path: str, pillow: Any) -> tuple[int, int]:
    advice = "repair or drop the image, or give the sizes in a table, by `image_sizes` or --image-sizes"
    if pathlib.PurePath(path).suffix.lower() in _RAW:
        raise ValueError(f"{path}: the size of a raw image is not in its header; {advice}.")
    with open_file(path) as file:
        try:
            with pillow.open(file) as image:
                width, height = image.size
                turned = image.format in ("JPEG", "MPO") and _orientation(image) in _QUARTER_TURNS
        # Pillow has no common error for damaged files.
        except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error) as error:
            reason = "Pillow knows no such format" if isinstance(error, pillow.UnidentifiedImageError) else error
            raise ValueError(f"{path}: not an image whose size can be read ({reason}); {advice}.") from error
        except pillow.DecompressionBombError as error:
            raise ValueError(f"{path}: {error}; if it is intended, raise PIL.Image.MAX_IMAGE_PIXELS.") from error
    return (width, height) if turned else (height, width)


def _orientation(image: Any) -> Any:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF data, which OpenCV ignores, too
        return None


def names_in_table(path: PathLike) -> list[str]:
    """Returns the names of the images in a table of sizes, as they are written.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if no column names images, or a name is empty.
    """
    header, rows = read_table(path, ["width", "height"])
    place = header.index(_naming(path, header))
    for block, row in rows:
        if not row[place]:
            raise block.error(row, f"`{header[place]}` is empty; every line needs an image")
    return [row[place] for _, row in rows]


def sizes_in_table(path: PathLike, image_ids: HostArray) -> Ints:
    """Returns `[I, 2]` int64, the height and width of images from a CSV file.

    Args:
      path: the file, with the columns `width` and `height` in pixels, and `file_name`, `image` or `image_id`; a file
        name may have its folder and suffix, or not. Lines of other images are ignored with a warning.
      image_ids: `[I]` ids, which are the names of the files without suffix.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a column or the line of an image is missing or repeated, or a size is not a whole number of at
        least 1; the message says where.
    """
    header, rows = read_table(path, ["width", "height"])
    name, sides = _naming(path, header), [header.index(side) for side in ("height", "width")]
    lines = [(image_name(row[header.index(name)]), block, row) for block, row in rows]
    chosen = [rows[place] for place in places_of_images(path, name, lines, image_ids, None)]
    for block, row in chosen:
        for side in sides:
            if not (re.fullmatch(r"0*[0-9]{1,8}", row[side]) and 0 < int(row[side]) <= _LARGEST):
                fault = f"`{header[side]}` must be a whole number of pixels of at least 1, got {shown(row[side])}"
                raise block.error(row, fault)
    return np.array([[int(row[side]) for side in sides] for _, row in chosen], np.int64).reshape(-1, 2)


def _naming(path: PathLike, header: Sequence[str]) -> str:
    """Returns the column that names the images."""
    names = [name for name in _NAMES if name in header]
    if not names:
        raise ValueError(f"{path}: expected a column `file_name` in line 1, got {shown(', '.join(header))}.")
    return names[0]
