"""The callback with keras-hub's own detectors, small and with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jaxmap

keras = pytest.importorskip("keras", reason="Keras 3", exc_type=ImportError)
keras_hub = pytest.importorskip("keras_hub", reason="needs TensorFlow's text package", exc_type=ImportError)

from interop.test_keras import as_keras_computes  # noqa: E402, F401
from jaxmap.interop.keras import AveragePrecisionCallback  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed", "ignore:Explicitly requested dtype int64"),
]
SIZE, NUM_CLASSES = 64, 3


def retinanet(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    layout = {"bounding_box_format": "yxyx", "min_level": 3, "max_level": 4}
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[4],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="bottleneck_block",
        image_shape=(SIZE, SIZE, 3),
    )
    model = keras_hub.models.RetinaNetObjectDetector(
        keras_hub.models.RetinaNetBackbone(
            encoder, min_level=3, max_level=4, use_p5=False, image_shape=(SIZE, SIZE, 3)
        ),
        num_classes=NUM_CLASSES,
        anchor_generator=keras_hub.layers.AnchorGenerator(**layout, num_scales=1, aspect_ratios=[1.0], anchor_size=4.0),
        pre_logits_num_conv_layers=1,
        prediction_decoder=keras_hub.layers.NonMaxSuppression(
            "yxyx", from_logits=True, confidence_threshold=0.0, max_detections=20
        ),
        **options,
    )
    for weight in model.box_head.weights:
        if weight.path.endswith("bias"):
            weight.assign(np.zeros(weight.shape))  # else all boxes begin outside their image
    model.compile(optimizer="sgd")
    return model


def detected(model: Any, images: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Returns the model's detections as mappings of one image, without padding."""
    found = model.predict(images, verbose=0)
    return [
        {"boxes": boxes[:count], "labels": labels[:count], "scores": scores[:count]}
        for boxes, labels, scores, count in zip(
            found["boxes"], found["labels"], found["confidence"], found["num_detections"], strict=True
        )
    ]


def targets_near(found: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns targets in whole pixels like the first detections, padded, so that some are found."""
    boxes = np.stack([np.clip(np.round(one["boxes"][:5]), 0, SIZE) for one in found]).astype(np.float32)
    labels = np.stack([one["labels"][:5] for one in found]).astype(np.int32)
    labels[:, 3] = -1
    return {"boxes": boxes, "labels": labels}


def expected(found: list[dict[str, np.ndarray]], targets: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns the numbers of `evaluate` itself."""
    truth = [
        {"boxes": boxes[labels >= 0], "labels": labels[labels >= 0]}
        for boxes, labels in zip(targets["boxes"], targets["labels"], strict=True)
    ]
    return jaxmap.evaluate(found, truth, box_format="yxyx", num_classes=NUM_CLASSES).to_scalars("val_")


def images_of(size: int) -> np.ndarray:
    return np.random.default_rng(0).random((4, size, size, 3)).astype(np.float32)


def in_batches(images: np.ndarray, targets: dict[str, np.ndarray]) -> list[Any]:
    return [(images[i : i + 2], {name: column[i : i + 2] for name, column in targets.items()}) for i in (0, 2)]


def test_retinanet_logs_average_precision_in_fit() -> None:
    model, images = retinanet(), images_of(SIZE)
    targets = targets_near(detected(model, images))
    callback = AveragePrecisionCallback(in_batches(images, targets), num_classes=NUM_CLASSES)
    callback.set_model(model)
    numbers = callback.evaluate().to_scalars("val_")
    assert numbers == expected(detected(model, images), targets)
    assert numbers["val_AP50"] > 0.1
    with pytest.raises(ValueError, match="User metrics not yet supported"):
        model.compile(metrics=["accuracy"])
    history = model.fit(images, targets, batch_size=2, epochs=1, verbose=0, callbacks=[callback]).history
    numbers = expected(detected(model, images), targets)
    assert {name: values[-1] for name, values in history.items() if name in numbers} == numbers


def test_preprocessor_of_the_model_converts_images_and_boxes_once() -> None:
    converter = keras_hub.layers.RetinaNetImageConverter(
        image_size=(SIZE, SIZE), bounding_box_format="yxyx", pad_to_aspect_ratio=False
    )
    model = retinanet(preprocessor=keras_hub.models.RetinaNetObjectDetectorPreprocessor(converter))
    images = images_of(2 * SIZE)
    found = detected(model, images)
    targets = targets_near(found)
    large = {"boxes": 2 * targets["boxes"], "classes": targets["labels"]}
    callback = AveragePrecisionCallback(in_batches(images, large), num_classes=NUM_CLASSES)
    callback.set_model(model)
    numbers = callback.evaluate().to_scalars("val_")
    assert numbers == expected(found, targets)
    assert numbers["val_AP50"] > 0.1
