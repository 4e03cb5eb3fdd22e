"""How certain the numbers of an evaluation are, and where they come from."""

from __future__ import annotations

from typing import Any

from ..analysis import Bootstrap, bootstrap
from ._explanations import Explanations

__all__ = ["Certainty"]


class Certainty(Explanations):
    """The methods of an `Evaluation` that weight its images."""

    def bootstrap(
        self,
        num_replicates: int = 1000,
        *,
        seed: int = 0,
        confidence: float = 0.95,
        unit: Any = "image",
    ) -> Bootstrap:
        """Returns standard errors and confidence intervals of every number, from resampled images.

        A replicate draws as many images as there are, with replacement. Copies of an image count like images of their
        own, with the same scores.

        Args:
          num_replicates: how many replicates to draw.
          seed: from 0 to 2^32 - 1; the same seed draws the same images on every machine.
          confidence: the share of datasets whose interval should contain the true number.
          unit: `image`; or, where images depend on each other, the group of each image, such as its video or patient:
            a mapping from image id, or one name for each of `image_ids`. Then groups are drawn.

        Raises:
          ValueError: if an argument is not as described, or there are fewer than two images or groups.

        Example:
          >>> there, nowhere = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
          >>> truth = [{"boxes": [there], "labels": [0]}] * 20
          >>> found = [{"boxes": [box], "labels": [0], "scores": [0.5]} for box in [there] * 15 + [nowhere] * 5]
          >>> interval = evaluate(found, truth).bootstrap().summary["AP"]
          >>> round(interval.value, 3), interval.low < interval.value < interval.high
          (0.565, True)
        """
        return bootstrap(
            self.dataset, self.protocol, num_replicates=num_replicates, seed=seed, confidence=confidence, unit=unit
        )
