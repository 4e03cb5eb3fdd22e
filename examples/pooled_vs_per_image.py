"""Shows why pooled and per-image AP can differ, on three textbook scenes, each with its explanation.

    python examples/pooled_vs_per_image.py

AP ranks the detections of all images together. A false positive that is the last of its image costs nothing there; in
the ranking of all it may stand above true positives of other images. Nothing is wrong then with the metric or the code.
"""

from __future__ import annotations

from typing import Any

import jaxmap

Image = list[tuple[float, bool]]  # the score of each detection, and whether it hits an object of its own

SCENES: dict[str, list[Image]] = {
    # Both images rank their own detections without a fault. The false positive at 0.90 is the last of its image, but it
    # stands above the true positive at 0.50 of the other.
    "Perfect images pooled": [
        [(0.50, True)],
        [(0.95, True), (0.90, False)],
    ],
    # The weak image's own false positives pull it down to a third; among the many good detections of the strong one
    # they weigh less, so together the images score higher than they do on average.
    "A weak image beside a strong one": [
        [(0.72, False), (0.71, False), (0.70, True)],
        [(0.95, True), (0.90, True), (0.85, True), (0.80, True), (0.75, True)],
    ],
    # The same pattern at about the same scores: it stays the same when the images are put together.
    "Similar images": [
        [(0.90, True), (0.80, False), (0.70, True)],
        [(0.88, True), (0.82, False), (0.71, True)],
    ],
}


def boxes_of(image: Image) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns detections and ground truths in which the detections that hit lie exactly on an object each."""
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
            print(f"image {index}, AP alone {ap:.4f}: {ranking}")
        print(f"\n{evaluation.explain()}\n\n")


if __name__ == "__main__":
    main()
