"""One image written by hand."""

from __future__ import annotations

from typing import Any

BOX = [0, 0, 50, 50]
OTHER = [100, 100, 150, 150]
FAR = [500, 500, 550, 550]


def detections(*rows: tuple[list[float], float], labels: list[int] | None = None) -> dict[str, Any]:
    """One image's detections from (box, score) rows."""
    return {
        "boxes": [box for box, _ in rows],
        "scores": [score for _, score in rows],
        "labels": labels or [0] * len(rows),
    }


def truths(*boxes: list[float], labels: list[int] | None = None, **columns: list[Any]) -> dict[str, Any]:
    """One image's ground truths."""
    return {"boxes": list(boxes), "labels": labels or [0] * len(boxes), **columns}
