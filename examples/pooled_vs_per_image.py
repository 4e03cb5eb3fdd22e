"""Shows why pooled and per-image AP can differ, on three textbook scenes, each with its explanation.

    python examples/pooled_vs_per_image.py

Pooled AP ranks the detections of all images as one set. A false positive that ranks last in its image costs nothing
there, but in the pooled ranking it may be above true positives of other images. That is no fault of the metric or of
the code.
"""

from __future__ import annotations

from typing import Any

import jaxmap

Image = list[tuple[float, bool]]  # the score of each detection, and whether it matches an object

SCENES: dict[str, list[Image]] = {
    # Both images rank their own detections perfectly. The false positive at 0.90 is the last in its image, but it ranks
    # above the true positive at 0.50 of the other image.
    "Perfect images pooled": [
        [(0.50, True)],
        [(0.95, True), (0.90, False)],
    ],
    # The false positives of the weak image lower its AP to a third. Among the many good detections of the strong image
    # they matter less, so pooled AP is higher than mean per-image AP.
    "A weak image beside a strong one": [
        [(0.72, False), (0.71, False), (0.70, True)],
        [(0.95, True), (0.90, True), (0.85, True), (0.80, True), (0.75, True)],
    ],
    # The same pattern at about the same scores: pooled AP and mean per-image AP are equal.
    "Similar images": [
        [(0.90, True), (0.80, False), (0.70, True)],
        [(0.88, True), (0.82, False), (0.71, True)],
    ],
}


def boxes_of(image: Image) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns detections and ground truths; each true detection lies exactly on one object."""
    boxes = [[20.0 * place, 0.0, 20.0 * place + 10.0, 10.0] for place in range(len(image))]
    objects = [box for box, (_, hits) in zip(boxes, image, strict=True) if hits]
    found = {"boxes": boxes, "scores": [score for score, _ in image], "labels": [0] * len(image)}
    return found, {"boxes": objects, "labels": [0] * len(objects)}


def main() -> None:
    for title, images in SCENES.items():
        detections, ground_truths = zip(*map(boxes_of, images), strict=True)
        evaluation = jaxmap.evaluate(detections, ground_truths, class_names=["object"])
        print(f"{title}\n{'=' * len(title)}")
        for index, (image, ap) in enumerate(zip(images, evaluation.per_image()["AP"], strict=True)):
            ranking = ", ".join(f"{'true' if hits else 'FALSE'} {score:.2f}" for score, hits in image)
            print(f"image {index}, AP {ap:.4f}: {ranking}")
        print(f"\n{evaluation.explain()}\n\n")


if __name__ == "__main__":
    main()
