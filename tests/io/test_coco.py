"""COCO files: what is read, against pycocotools on real files, and one test for every error."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmap.io import coco_detections, coco_ground_truths, read_coco_detections, read_coco_ground_truths

PAIRS = {
    "coco_val2017/ground_truth_exact_188_images": "coco_val2017/ssd_resnet50_fpn",
    "coco_val2017/ground_truth_integer_boxes": "coco_val2017/ssd_resnet50_fpn",
    "coco_val2017/pseudo_mask_ground_truth_100_images": "coco_val2017/yolact_darknet53_masks_100_images",
    "cocoapi_val2014_100/ground_truth": "cocoapi_val2014_100/fake_boxes",
}


def annotation(**fields):
    return {"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 150} | fields


def result(**fields):
    return {"image_id": 7, "category_id": 18, "bbox": [1.5, 0, 20, 10], "score": 0.9} | fields


def dataset(*annotations, **lists):
    return {
        "images": [{"id": 9}, {"id": 7}],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 18, "name": "dog"}],
        "annotations": list(annotations),
    } | lists


def without(entry, field):
    return {name: value for name, value in entry.items() if name != field}


@pytest.fixture
def ground_truths():
    return coco_ground_truths(dataset(annotation()))


# ---- what is read ----


def test_ground_truths_sort_images_and_classes_and_keep_the_order_of_rows():
    table = coco_ground_truths(
        dataset(
            annotation(id=5, image_id=9, category_id=44, bbox=[1, 2, 3, 4.5], area=13, iscrowd=1),
            annotation(id=8, image_id=7, iscrowd=False),
            annotation(id=3, image_id=9, area=2.5),
        )
    )
    assert table.image_ids.tolist() == [7, 9]
    assert table.class_ids.tolist() == [18, 44]
    assert table.class_names == ("dog", "bottle")
    assert table.ids.tolist() == [5, 8, 3]
    assert table.image_index.tolist() == [1, 0, 1]
    assert table.labels.tolist() == [1, 0, 0]
    assert table.boxes.tolist() == [[1, 2, 3, 4.5], [0, 0, 20, 10], [0, 0, 20, 10]]
    assert table.area.tolist() == [13, 150, 2.5]
    assert table.crowd.tolist() == [True, False, False]


def test_tables_have_the_documented_dtypes(ground_truths):
    detections = coco_detections([result()], ground_truths)
    for table, floats, flags in (
        (ground_truths, ("boxes", "area"), ("crowd", "ignore")),
        (detections, ("boxes", "scores"), ()),
    ):
        for name in floats:
            assert getattr(table, name).dtype == np.float64
        for name in flags:
            assert getattr(table, name).dtype == np.bool_
        for name in ("image_index", "labels", "ids"):
            assert getattr(table, name).dtype == np.int64


def test_ground_truths_never_read_ignore():
    # pycocotools sets `ignore` to `iscrowd`, whatever the file says.
    assert coco_ground_truths(dataset(annotation(ignore=1))).ignore.tolist() == [False]


def test_ground_truths_without_annotations_keep_images_and_classes():
    table = coco_ground_truths(dataset())
    assert (len(table.image_ids), len(table.class_ids)) == (2, 2)
    assert table.boxes.shape == (0, 4)
    assert table.area.shape == table.ids.shape == (0,)


@pytest.mark.parametrize("category", [{"id": 3}, {"id": 3, "name": None}])
def test_category_without_a_name_is_called_by_its_id(category):
    assert coco_ground_truths(dataset(categories=[category])).class_names == ("3",)


def test_detections_keep_their_order_and_positions(ground_truths):
    table = coco_detections([result(image_id=9, score=0.1), result(category_id=44, score=1)], ground_truths)
    assert table.image_index.tolist() == [1, 0]
    assert table.labels.tolist() == [0, 1]
    assert table.scores.tolist() == [0.1, 1.0]
    assert table.boxes[0].tolist() == [1.5, 0, 20, 10]
    assert table.ids.tolist() == [0, 1]


def test_detections_may_be_none(ground_truths):
    table = coco_detections([], ground_truths)
    assert table.boxes.shape == (0, 4)
    assert table.scores.shape == table.labels.shape == table.image_index.shape == (0,)


def test_detections_accept_numpy_values(ground_truths):
    entry = result(image_id=np.int32(7), bbox=np.arange(4, dtype=np.float32), score=np.float32(0.5))
    table = coco_detections([entry], ground_truths)
    assert table.boxes.tolist() == [[0, 1, 2, 3]]
    assert table.scores.tolist() == [0.5]


def test_the_input_is_not_changed(ground_truths):
    data, results = dataset(annotation()), [result()]
    before = copy.deepcopy((data, results))
    coco_detections(results, coco_ground_truths(data))
    assert (data, results) == before


# ---- against pycocotools ----


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_tables_hold_what_pycocotools_loads(shared_data, name):
    coco_module = pytest.importorskip("pycocotools.coco")
    ground_truth_path = shared_data / f"{name}.json.gz"
    table = read_coco_ground_truths(ground_truth_path)
    results = json.loads(gzip.decompress((shared_data / f"{PAIRS[name]}.json.gz").read_bytes()))
    known_images = set(table.image_ids.tolist())
    results = [entry for entry in results if entry["image_id"] in known_images]
    detections = coco_detections(results, table)

    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco_module.COCO()
        reference.dataset = json.loads(gzip.decompress(ground_truth_path.read_bytes()))
        reference.createIndex()
        loaded = reference.loadRes(copy.deepcopy(results))

    assert table.image_ids.tolist() == sorted(reference.getImgIds())
    assert table.class_ids.tolist() == sorted(reference.getCatIds())
    assert table.class_names == tuple(entry["name"] for entry in reference.loadCats(table.class_ids.tolist()))
    # Sorted by image, rows of one image in file order: the order in which pycocotools meets them.
    _assert_same_rows(table, reference, table, ("area", table.area), ("iscrowd", table.crowd))
    _assert_same_rows(detections, loaded, table, ("score", detections.scores), id_offset=1)


def _assert_same_rows(rows, reference, table, *columns, id_offset=0):
    images, classes = table.image_ids.tolist(), table.class_ids.tolist()
    expected = reference.loadAnns(reference.getAnnIds(imgIds=images, catIds=classes))
    order = np.argsort(rows.image_index, kind="stable")
    assert (rows.ids[order] + id_offset).tolist() == [entry["id"] for entry in expected]
    assert table.image_ids[rows.image_index[order]].tolist() == [entry["image_id"] for entry in expected]
    assert table.class_ids[rows.labels[order]].tolist() == [entry["category_id"] for entry in expected]
    np.testing.assert_array_equal(rows.boxes[order], [entry["bbox"] for entry in expected])
    for field, column in columns:
        assert column[order].tolist() == [entry[field] for entry in expected]


# ---- warnings ----


def test_annotations_of_unknown_categories_are_left_out_with_a_warning():
    data = dataset(annotation(id=1, category_id=5), annotation(id=2), annotation(id=3, category_id=4))
    with pytest.warns(
        UserWarning,
        match=r"ignored 2 of 3 `annotations`, .* do not list: 4, 5 \(they list 18, 44\)\.",
    ):
        table = coco_ground_truths(data)
    assert table.ids.tolist() == [2]
    assert len(table.boxes) == len(table.area) == len(table.crowd) == len(table.ignore) == 1


def test_results_of_unknown_categories_are_left_out_with_a_warning(ground_truths):
    with pytest.warns(UserWarning, match=r"ignored 1 of 2 `results`, .* do not list: 99 \(they list 18, 44\)\."):
        table = coco_detections([result(category_id=99), result()], ground_truths)
    assert table.ids.tolist() == [1]


def test_repeated_annotation_ids_are_all_kept_with_a_warning():
    with pytest.warns(UserWarning, match=r"`annotations` repeat 1 ids: 4; all are scored"):
        table = coco_ground_truths(dataset(annotation(id=4), annotation(id=4, image_id=9)))
    assert table.image_index.tolist() == [0, 1]


# ---- errors: shape ----


def test_errors_name_the_file(tmp_path, ground_truths):
    path = tmp_path / "dt.json"
    path.write_text(json.dumps([result(), result(score="high")]))
    with pytest.raises(ValueError, match=re.escape(f"{path}: `results[1].score` must be a finite number")):
        read_coco_detections(path, ground_truths)


@pytest.mark.parametrize(("data", "hint"), [([], "is it the results file"), (3, "got a int"), (None, "got a NoneType")])
def test_ground_truths_that_are_no_object_raise(data, hint):
    with pytest.raises(ValueError, match=f"ground truths must be an object with .*{hint}"):
        coco_ground_truths(data)


@pytest.mark.parametrize("name", ["images", "categories", "annotations"])
def test_ground_truths_without_a_list_raise(name):
    with pytest.raises(ValueError, match=f"got no `{name}` among"):
        coco_ground_truths(without(dataset(annotation()), name))
    with pytest.raises(ValueError, match=f"`{name}` must be a list of objects, got a dict"):
        coco_ground_truths(dataset(annotation()) | {name: {}})


@pytest.mark.parametrize("name", ["images", "categories"])
def test_ground_truths_without_images_or_categories_raise(name):
    with pytest.raises(ValueError, match=f"`{name}` must list at least one entry, got none"):
        coco_ground_truths(dataset() | {name: []})


def test_results_in_an_object_raise_and_say_where_the_list_is(ground_truths):
    with pytest.raises(
        ValueError, match=r"results must be a list .* got a dict; save only the list under its `annotations`"
    ):
        coco_detections({"annotations": [result()]}, ground_truths)
    with pytest.raises(ValueError, match=r"results must be a list .* got a dict\."):
        coco_detections({}, ground_truths)


@pytest.mark.parametrize("entry", [None, 3, "text", [7, 18, 0.5], [[]]])
def test_entries_that_are_no_objects_raise(ground_truths, entry):
    with pytest.raises(ValueError, match=r"`results\[1\]` must be an object, got"):
        coco_detections([result(), entry], ground_truths)
    with pytest.raises(ValueError, match=r"`images\[2\]` must be an object, got"):
        coco_ground_truths(dataset(images=[{"id": 1}, {"id": 2}, entry]))
    with pytest.raises(ValueError, match=r"`annotations\[1\]` must be an object, got"):
        coco_ground_truths(dataset(annotation(), entry))


# ---- errors: fields ----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # only the clock of a busy machine could exceed it
@given(field=st.sampled_from(["id", "image_id", "category_id", "bbox", "area", "iscrowd", "score"]), value=JSON)
def test_any_value_of_a_field_is_read_or_named(field, value):
    entry = {field: value}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an integer may be an unknown category
        for read in (
            lambda: coco_ground_truths(dataset(annotation(**entry))),
            lambda: coco_detections([result(**entry)], coco_ground_truths(dataset())),
        ):
            try:
                read()
            except ValueError as error:
                assert re.search(rf"\[0\]\.{field}` must be|image ids that the ground truths do not list", str(error))


@pytest.mark.parametrize("field", ["id", "image_id", "category_id", "bbox"])
def test_annotation_without_a_field_raises(field):
    with pytest.raises(ValueError, match=rf"`annotations\[1\]` has no `{field}`"):
        coco_ground_truths(dataset(annotation(), without(annotation(id=2), field)))


@pytest.mark.parametrize("field", ["image_id", "category_id", "bbox"])
def test_result_without_a_field_raises(ground_truths, field):
    with pytest.raises(ValueError, match=rf"`results\[2\]` has no `{field}`.*, got only \["):
        coco_detections([result(), result(), without(result(), field)], ground_truths)


def test_results_without_any_score_have_the_score_one(ground_truths):
    table = coco_detections([without(result(), "score")] * 3, ground_truths)
    assert table.scores.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"`results\[2\]` has no `score`, but 2 of 3 `results` have one; give every"):
        coco_detections([result(), result(), without(result(), "score")], ground_truths)


@pytest.mark.parametrize("name", ["images", "categories"])
def test_image_or_category_without_an_id_raises(name):
    with pytest.raises(ValueError, match=rf"`{name}\[0\]` has no `id`"):
        coco_ground_truths(dataset() | {name: [{"name": "dog"}]})


@pytest.mark.parametrize("value", ["0.9", True, None, [0.9], float("nan"), float("inf"), 10**400])
def test_numbers_that_are_not_finite_raise(ground_truths, value):
    with pytest.raises(ValueError, match=r"`results\[1\]\.score` must be a finite number, got"):
        coco_detections([result(), result(score=value)], ground_truths)
    if value is not None:  # as if it were missing
        with pytest.raises(ValueError, match=r"`annotations\[0\]\.area` must be a finite number, got"):
            coco_ground_truths(dataset(annotation(area=value)))


@pytest.mark.parametrize(
    "value",
    [[1, 2, 3], [1, 2, 3, 4, 5], [], None, 7, "abcd", {}, [1, 2, "3", 4], [1, 2, 3, None], [1, 2, 3, True],
     [1, 2, 3, float("nan")], [1, 2, float("-inf"), 4], [[1], [2], [3], [4]], [10**400, 0, 1, 1]],
)  # fmt: skip
def test_boxes_that_are_not_four_finite_numbers_raise(ground_truths, value):
    message = r"\[1\]\.bbox` must be four finite numbers \[x, y, width, height\], got"
    with pytest.raises(ValueError, match="`results" + message):
        coco_detections([result(), result(bbox=value)], ground_truths)
    with pytest.raises(ValueError, match="`annotations" + message):
        coco_ground_truths(dataset(annotation(), annotation(id=2, bbox=value)))


@pytest.mark.parametrize("value", [2, -1, 0.5, "1", [], float("nan")])
def test_iscrowd_that_is_no_flag_raises(value):
    with pytest.raises(ValueError, match=r"`annotations\[0\]\.iscrowd` must be 0 or 1, got"):
        coco_ground_truths(dataset(annotation(iscrowd=value)))


@pytest.mark.parametrize("name", ["images", "categories"])
def test_repeated_images_or_categories_raise(name):
    entries = [{"id": number} for number in (7, 3, 7, 3, 1, 18)]
    with pytest.raises(ValueError, match=rf"`{name}` must have distinct `id`s, got these more than once: 3, 7; keep"):
        coco_ground_truths(dataset() | {name: entries})


def test_annotations_of_unknown_images_raise_and_name_the_first_few():
    annotations = [annotation(id=number, image_id=100 + number) for number in range(1, 8)]
    with pytest.raises(
        ValueError, match=r"7 of 8 `annotations` are for 7 image ids .* 101, 102, 103, 104, 105 and 2 more"
    ):
        coco_ground_truths(dataset(annotation(id=0), *annotations))


def test_results_of_unknown_images_raise_and_name_the_first_few(ground_truths):
    results = [result(), result(image_id=5), result(image_id=5), result(image_id=10), result(image_id=-2)]
    with pytest.raises(
        ValueError,
        match=r"4 of 5 `results` are for 3 image ids .* do not list: -2, 5, 10 \(they list 7, 9\); drop these",
    ):
        coco_detections(results, ground_truths)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(480, 640), (100, 200)], [[100, 200], [480, 640]]),  # in the order of the image ids
        ([(480, 640), (100, None)], None),
        ([(480, 640), ("100", 200)], None),
        ([(480, 640), (0, 200)], None),
    ],
)
def test_sizes_of_images_are_read_if_all_are_known(sizes, expected):
    images = [{"id": 9 - i, "height": height, "width": width} for i, (height, width) in enumerate(sizes)]
    truth = coco_ground_truths({"images": images, "categories": [{"id": 1}], "annotations": []})
    assert (None if truth.image_sizes is None else truth.image_sizes.tolist()) == expected
