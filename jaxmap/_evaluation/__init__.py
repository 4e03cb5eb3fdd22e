"""One call from inputs to numbers, and the object that holds and explains them."""

from ._evaluate import evaluate
from ._result import Evaluation, evaluation_of

__all__ = ["Evaluation", "evaluate", "evaluation_of"]
