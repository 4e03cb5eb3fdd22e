"""One call from inputs to numbers, and the object that holds and explains them."""

from ._compare import compare
from ._evaluate import evaluate
from ._result import Evaluation, evaluation_of

__all__ = ["Evaluation", "compare", "evaluate", "evaluation_of"]
