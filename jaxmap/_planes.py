"""One bit for every (area range, IoU threshold) plane: how matches are packed into uint32 words.

Plane `a * T + t` is bit `plane % 32` of word `plane // 32`. COCO's 4 x 10 planes take two words, so matching a pair in
all of them takes a few integer operations, and the outcome of a detection takes 16 bytes.

>>> level_words(2, 1).tolist()  # no threshold, the first, both
[[0], [1], [3]]
>>> area_words(2, 2).tolist()
[[3], [12]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import jax
    from numpy.typing import NDArray

    SameWords = TypeVar("SameWords", jax.Array, NDArray[Any])

__all__ = [
    "WORD_BITS",
    "area_words",
    "level_words",
    "num_words",
    "plane_bit",
    "read_plane",
    "take_words",
    "word_columns",
]

WORD_BITS = 32


def num_words(num_thresholds: int, num_areas: int) -> int:
    """Returns W, the number of words that hold all planes."""
    return -(-num_thresholds * num_areas // WORD_BITS)


def plane_bit(area: int, threshold: int, num_thresholds: int) -> tuple[int, int]:
    """Returns the (word, bit) of a plane."""
    return divmod(area * num_thresholds + threshold, WORD_BITS)


def read_plane(words: SameWords, area: int, threshold: int, num_thresholds: int) -> SameWords:
    """Returns `[N]` bool, one plane of `[N, W]` words, NumPy or JAX."""
    word, bit = plane_bit(area, threshold, num_thresholds)
    plane: SameWords = (words[:, word] & np.uint32(1 << bit)) != 0
    return plane


def take_words(words: NDArray[np.uint32], rows: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Returns some rows of `[N, W]` words of which each word is contiguous: `take` of rows would copy all of them."""
    return words.T.take(rows, axis=1).T


def word_columns(words: SameWords) -> list[SameWords]:
    """Returns the W columns of `[N, W]` words; for a TPU, which takes long to transpose so few, and to compile it."""
    return [words[:, word] for word in range(words.shape[1])]


def level_words(num_thresholds: int, num_areas: int) -> NDArray[np.uint32]:
    """Returns `[T + 1, W]` uint32, the planes whose threshold a pair of each level reaches, over all area ranges."""
    passes = np.arange(num_thresholds) < np.arange(num_thresholds + 1)[:, None]
    return _pack(np.broadcast_to(passes[:, None, :], (num_thresholds + 1, num_areas, num_thresholds)))


def area_words(num_thresholds: int, num_areas: int) -> NDArray[np.uint32]:
    """Returns `[A, W]` uint32, all planes of each area range."""
    planes = np.eye(num_areas, dtype=bool)[:, :, None]
    return _pack(np.broadcast_to(planes, (num_areas, num_areas, num_thresholds)))


def _pack(planes: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Packs `[n, A, T]` bool into `[n, W]` uint32."""
    flat = planes.reshape(len(planes), -1)
    words = np.zeros((len(planes), num_words(flat.shape[1], 1), WORD_BITS), np.uint32)
    words.reshape(len(planes), -1)[:, : flat.shape[1]] = flat
    packed: NDArray[np.uint32] = (words << np.arange(WORD_BITS, dtype=np.uint32)).sum(-1, dtype=np.uint32)
    return packed
