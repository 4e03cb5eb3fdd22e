"""A column of compressed encodings with one text for all, because millions of small objects take time and memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...types import Ints

__all__ = ["Encodings", "encodings_of", "join_encodings"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encodings(Sequence[dict[str, Any]]):
    """N masks with compressed counts, not decoded yet; a row is COCO's object with `size` and `counts`.

    Attributes:
      text: the counts of all, one after the other, unchecked.
      stop: `[N]` int64, where those of each mask end.
      sizes: `[N, 2]` int64, heights and widths, checked.
    """

    text: bytes
    stop: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.stop)

    def __getitem__(self, row: Any) -> Any:
        start = self.stop[row - 1] if row else 0
        return {"size": self.sizes[row].tolist(), "counts": self.text[start : self.stop[row]].decode("latin-1")}


def encodings_of(texts: Sequence[str | bytes], sizes: Ints) -> Encodings:
    """Returns the encodings of N texts and checked sizes, `[N, 2]` int64.

    Raises:
      UnicodeEncodeError: if a text has other characters than those of ASCII, of which the counts are.
    """
    try:
        text = "".join(texts).encode("ascii")  # type: ignore[arg-type]
    except TypeError:  # some are bytes
        text = b"".join(one.encode("ascii") if isinstance(one, str) else one for one in texts)
    return Encodings(text=text, stop=np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts))), sizes=sizes)


def join_encodings(parts: Sequence[Encodings]) -> Encodings:
    """Returns the encodings of all parts, one after the other."""
    starts = np.cumsum([0, *(len(part.text) for part in parts)])
    return Encodings(
        text=b"".join(part.text for part in parts),
        stop=np.concatenate([part.stop + start for part, start in zip(parts, starts[:-1], strict=True)]),
        sizes=np.concatenate([part.sizes for part in parts]),
    )
