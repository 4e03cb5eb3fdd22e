"""A replacement of pycocotools, with the same modules and names: `coco`, `cocoeval` and `mask`.

Either import from here, or call `install()` first: then `from pycocotools.coco import COCO` and the like give these
modules in the whole process, until `uninstall()` or the end of `with install():`.

Code written for pycocotools runs on the objects of either library, also if it collects `evalImgs` from many processes
and assigns them before `accumulate`. pycocotools is not needed. Deliberate differences: an annotation with the id 0
counts (pycocotools reads its match as no match), results are copied and not modified, results with boxes get no
`segmentation`, an empty list of results is scored, `useCats = 0` keeps `params.catIds` and also works for keypoints,
and data that cannot be scored, such as NaN or masks of two sizes in one image, is an error that names it. Warnings are
given about an annotation id of 0, repeated ids, and ids in `params` that the ground truths lack. A class that is
derived from `COCOeval` may replace `evaluateImg`; one that only replaces `computeIoU` or `computeOks` is refused,
because the matching does not call them.

>>> import contextlib, io
>>> with contextlib.redirect_stdout(io.StringIO()):
...     truth = COCO()
...     truth.dataset = {
...         "images": [{"id": 7}],
...         "categories": [{"id": 18, "name": "dog"}],
...         "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 200}],
...     }
...     truth.createIndex()
...     found = truth.loadRes([{"image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 8], "score": 0.9}])
...     run = COCOeval(truth, found, "bbox")
...     run.evaluate()
...     run.accumulate()
...     run.summarize()
>>> run.stats[:3].round(3).tolist()
[0.7, 1.0, 1.0]
"""

from . import coco, cocoeval, mask
from ._install import install, uninstall
from .coco import COCO
from .cocoeval import COCOeval, Params

__all__ = ["COCO", "COCOeval", "Params", "coco", "cocoeval", "install", "mask", "uninstall"]
