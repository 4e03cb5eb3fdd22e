"""Readers of files, which return tables, and their conversion to COCO's; they need only NumPy and the standard library.

>>> ground_truths = coco_ground_truths({
...     "images": [{"id": 7}],
...     "categories": [{"id": 18, "name": "dog"}],
...     "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 150}],
... })
>>> detections = coco_detections(
...     [{"image_id": 7, "category_id": 18, "bbox": [1, 0, 20, 10], "score": 0.9}], ground_truths
... )
>>> ground_truths.class_names, detections.labels
(('dog',), array([0]))
"""

from ._coco import coco_detections, coco_ground_truths, read_coco_detections, read_coco_ground_truths
from ._coco_writer import to_coco_ground_truths, to_coco_results
from ._crowdhuman import is_crowdhuman, read_crowdhuman_detections, read_crowdhuman_ground_truths
from ._demo import demo_scene
from ._dota import quads_to_oriented, read_dota_detections, read_dota_ground_truths
from ._image_lists import select_images
from ._json import load_json
from ._kitti import read_kitti_detections, read_kitti_ground_truths
from ._lvis import lvis_ground_truths, read_lvis_ground_truths
from ._open_images import is_open_images, read_open_images_detections, read_open_images_ground_truths
from ._panoptic import CocoPanoptic, read_coco_panoptic_ground_truths, read_coco_panoptic_predictions
from ._recognition import Contents, contents_of
from ._result_files import write_results
from ._side_files import read_class_groups, read_image_groups, read_image_table
from ._ultralytics import is_ultralytics, read_ultralytics_detections
from ._voc import is_voc, read_voc_detections, read_voc_ground_truths
from ._wider_face import is_wider_face, read_wider_face_detections, read_wider_face_ground_truths
from ._yolo import read_yolo_detections, read_yolo_ground_truths
from ._yolo_dataset import is_yolo

__all__ = [
    "CocoPanoptic",
    "Contents",
    "coco_detections",
    "coco_ground_truths",
    "contents_of",
    "demo_scene",
    "is_crowdhuman",
    "is_open_images",
    "is_ultralytics",
    "is_voc",
    "is_wider_face",
    "is_yolo",
    "load_json",
    "lvis_ground_truths",
    "quads_to_oriented",
    "read_class_groups",
    "read_coco_detections",
    "read_coco_ground_truths",
    "read_coco_panoptic_ground_truths",
    "read_coco_panoptic_predictions",
    "read_crowdhuman_detections",
    "read_crowdhuman_ground_truths",
    "read_dota_detections",
    "read_dota_ground_truths",
    "read_image_groups",
    "read_image_table",
    "read_kitti_detections",
    "read_kitti_ground_truths",
    "read_lvis_ground_truths",
    "read_open_images_detections",
    "read_open_images_ground_truths",
    "read_ultralytics_detections",
    "read_voc_detections",
    "read_voc_ground_truths",
    "read_wider_face_detections",
    "read_wider_face_ground_truths",
    "read_yolo_detections",
    "read_yolo_ground_truths",
    "select_images",
    "to_coco_ground_truths",
    "to_coco_results",
    "write_results",
]


def __dir__() -> list[str]:
    return list(__all__)
