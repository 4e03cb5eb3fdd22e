"""All kernels give the bits of `match`: the scan over all pairs, rounds on both routes, and the TPU's, interpreted."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap import COCO, OPEN_IMAGES, VOC2012, Detections, EvaluationProtocol, GroundTruths
from jaxmap._candidates._device import ABSENT
from jaxmap._candidates._host import Pairs
from jaxmap._matching._backends import match_by_lists, match_dense
from jaxmap._matching._checked import BatchRules, CheckedBatch, check_batch
from jaxmap._matching._dense_kernel import LANES, DensePairs, fits_tpu, match_on_tpu, match_pairs
from jaxmap._matching._kernel import match
from jaxmap._matching._outcomes import outcome
from jaxmap._matching._prepared import prepare_image
from jaxmap._matching._rounds import MAX_GROUND_TRUTHS, match_by_rounds
from jaxmap._matching._rounds_host import match_by_rounds as match_on_host
from jaxmap._planes import area_words, level_words
from jaxmap.protocols import OPEN_IMAGES_CHALLENGE, ULTRALYTICS
from jaxmap.types import Candidates

KERNELS = {
    "scan over all pairs": jax.vmap(match_pairs),
    "TPU": partial(match_on_tpu, interpret=True),
    "rounds": match_by_rounds,
}
T, A = 10, 4


def random_pairs(
    seed: int, shape: tuple[int, int, int], *, ignored_absorb: bool
) -> tuple[tuple[np.ndarray, ...], DensePairs]:
    """Returns what `match` takes and what the kernels take, for one random batch with contention and equal values."""
    rng = np.random.default_rng(seed)
    num_images, _, num_ground_truths = shape
    level = np.maximum(rng.integers(-6, T + 1, shape), 0)
    similarity = ((level + rng.choice([0.0, 0.25, 0.5], shape)) / 16).astype(np.float32)
    levels, areas = level_words(T, A), area_words(T, A)
    inside = rng.random((num_images, num_ground_truths, A)) < 0.5
    counted = np.bitwise_or.reduce(np.where(inside[..., None], areas, np.uint32(0)), axis=2)
    crowd = rng.random((num_images, num_ground_truths)) < 0.2
    counted[crowd] = 0
    last_wins = np.broadcast_to(-np.arange(num_ground_truths), shape)
    index = np.lexsort((last_wins, -np.where(level > 0, similarity, -1)), axis=-1).astype(np.int32)
    lists = index, np.take_along_axis(level, index, -1).astype(np.int8), counted, crowd
    kept = np.where(crowd[..., None], np.uint32(0), np.uint32(2**32 - 1)) & (counted if ignored_absorb else 2**32 - 1)
    kept = np.broadcast_to(kept, counted.shape).astype(np.uint32)

    def words(of_pairs: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.ascontiguousarray(of_pairs).view(np.int32), -1, 1)

    pairs = DensePairs(
        high=np.where(level > 0, similarity, np.float32(ABSENT)),
        low=np.zeros(shape, np.float32),
        reached=words(levels[level]),
        counted=words(counted),
        kept=words(kept),
        num_candidates=(level > 0).sum(-1).astype(np.int32),
    )
    return lists, pairs


@partial(jax.jit, static_argnames="ignored_absorb")
def by_lists(
    index: jax.Array, level: jax.Array, counted: jax.Array, crowd: jax.Array, *, ignored_absorb: bool
) -> tuple[jax.Array, jax.Array]:
    def one(index: jax.Array, level: jax.Array, counted: jax.Array, crowd: jax.Array) -> tuple[jax.Array, jax.Array]:
        chosen = match(
            Candidates(index=index, level=level),
            counted=counted,
            crowd=crowd,
            levels=level_words(T, A),
            ignored_absorb=ignored_absorb,
        )
        everywhere = jnp.full((len(index), counted.shape[1]), 2**32 - 1, jnp.uint32)
        return outcome(chosen, index, counted=counted, inside=everywhere)

    return jax.vmap(one)(index, level, counted, crowd)


@pytest.mark.parametrize("ignored_absorb", [False, True])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_equal_match(name: str, ignored_absorb: bool) -> None:
    kernel = jax.jit(KERNELS[name])
    for seed in range(25):
        lists, pairs = random_pairs(seed, (5, 10, 7), ignored_absorb=ignored_absorb)
        expected = by_lists(*lists, ignored_absorb=ignored_absorb)
        for result, words in zip(kernel(pairs), expected, strict=True):
            np.testing.assert_array_equal(np.asarray(result).view(np.uint32), np.asarray(words))


@pytest.mark.parametrize("ignored_absorb", [False, True])
@pytest.mark.parametrize("num_areas", [1, 4, 7, 13])  # of 10 planes each: one word to five
def test_the_host_matches_like_match(num_areas: int, ignored_absorb: bool) -> None:
    levels, areas = level_words(T, num_areas), area_words(T, num_areas)
    matching = jax.jit(partial(match, levels=levels, ignored_absorb=ignored_absorb))
    for seed in range(40):
        rng = np.random.default_rng(seed)
        num_ground_truths = int(rng.integers(1, 13))
        # Pairs without a level are padding, at any place, and many detections have none that is real.
        level = np.maximum(rng.integers(-12, T + 1, (30, 12)), 0).astype(np.int8)
        index = np.stack([rng.permutation(12) for _ in level]).astype(np.int32)
        level[index >= num_ground_truths] = 0
        inside = rng.random((num_ground_truths, num_areas)) < 0.6
        counted = np.bitwise_or.reduce(np.where(inside[..., None], areas, np.uint32(0)), axis=1)
        crowd = rng.random(num_ground_truths) < 0.2
        counted[crowd] = 0
        expected = matching(Candidates(index=index, level=level), counted=counted, crowd=crowd)
        detection, place = np.nonzero(level)
        pairs = Pairs(detection, index[detection, place].astype(np.int64), np.empty(0), level[detection, place])
        chosen = match_on_host(pairs, counted, crowd, levels, ignored_absorb=ignored_absorb)
        np.testing.assert_array_equal(chosen, np.asarray(expected)[detection, place])
        assert chosen.any()


@pytest.mark.parametrize("shape", [(LANES + 3, 17, 2), (1, 1, 1), (2, 34, 9), (2, 20, 8)])
@pytest.mark.parametrize("name", ["TPU", "rounds"])
def test_any_number_of_images_detections_and_ground_truths(name: str, shape: tuple[int, int, int]) -> None:
    _, pairs = random_pairs(1, shape, ignored_absorb=False)
    expected = jax.jit(KERNELS["scan over all pairs"])(pairs)
    for result, words in zip(jax.jit(KERNELS[name])(pairs), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(result), np.asarray(words))


def test_rounds_number_the_most_ground_truths_in_int32() -> None:
    def pairs(num_ground_truths: int) -> DensePairs:
        of_pairs, words = (1, 1, num_ground_truths), (1, 2, num_ground_truths)
        shapes = of_pairs, of_pairs, (1, 2, 1, num_ground_truths), words, words, (1, 1)
        types = (np.float32, np.float32, *(np.int32,) * 4)
        return DensePairs(*map(jax.ShapeDtypeStruct, shapes, types))

    jax.eval_shape(match_by_rounds, pairs(MAX_GROUND_TRUTHS))
    with pytest.raises(OverflowError):
        jax.eval_shape(match_by_rounds, pairs(MAX_GROUND_TRUTHS + 1))


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_may_be_mapped(name: str) -> None:
    batches = [random_pairs(seed, (3, 6, 4), ignored_absorb=False)[1] for seed in range(2)]
    stacked = jax.tree.map(lambda *columns: np.stack(columns), *batches)
    mapped = jax.jit(jax.vmap(KERNELS[name]))(stacked)
    for place, pairs in enumerate(batches):
        for result, words in zip(mapped, KERNELS[name](pairs), strict=True):
            np.testing.assert_array_equal(np.asarray(result[place]), np.asarray(words))


def test_the_kernel_for_tpus_says_what_fits() -> None:
    assert fits_tpu(100, 2)
    assert not fits_tpu(100_000, 2)


def boxes_on_thresholds(seed: int, num_images: int = 4) -> tuple[Detections, GroundTruths]:
    """Returns boxes with many equal IoUs, IoUs on thresholds, crowds, and more candidates than a short list holds."""
    rng = np.random.default_rng(seed)
    shape = num_images, 12
    corner = rng.integers(0, 3, (*shape, 2)) * 20
    side = rng.choice([20, 40, 100], (*shape, 1)).repeat(2, -1)
    truth = np.concatenate([corner, corner + side], -1).astype(np.float32)
    of_truth = rng.integers(0, shape[1], (num_images, 16))
    found = np.take_along_axis(truth, of_truth[..., None], 1).copy()
    found[..., 2] -= (found[..., 2] - found[..., 0]) * rng.integers(0, 11, of_truth.shape) / 20
    labels = rng.integers(0, 2, shape)
    return (
        Detections(
            boxes=found,
            scores=np.round(rng.random(of_truth.shape), 1).astype(np.float32),
            labels=np.take_along_axis(labels, of_truth, 1),
            valid=rng.random(of_truth.shape) < 0.9,
        ),
        GroundTruths(boxes=truth, labels=labels, valid=rng.random(shape) < 0.9, crowd=rng.random(shape) < 0.15),
    )


@pytest.mark.slow
def test_long_lists_are_matched_inside_shard_map() -> None:
    rules = BatchRules(COCO, 2, "xyxy")
    batch = check_batch(*boxes_on_thresholds(7), np.arange(4), None, rules)
    prepare = jax.vmap(partial(prepare_image, rules=rules))
    images = jax.jit(prepare)(batch.detections, batch.ground_truths, batch.odd_flags)
    matching = partial(match_by_lists, protocol=COCO)
    over_images = jax.P("images")
    mesh = jax.make_mesh((1,), ("images",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.jit(jax.shard_map(matching, mesh=mesh, in_specs=over_images, out_specs=over_images))
    for result, words in zip(sharded(images), jax.jit(matching)(images), strict=True):
        np.testing.assert_array_equal(np.asarray(result), np.asarray(words))


@pytest.mark.parametrize(
    "protocol",
    [
        COCO,
        pytest.param(VOC2012, marks=pytest.mark.slow),  # only the most similar ground truth may match
        pytest.param(OPEN_IMAGES, marks=pytest.mark.slow),  # crowds take any number of detections
        pytest.param(OPEN_IMAGES_CHALLENGE, marks=pytest.mark.slow),  # the first of them is a true positive
        pytest.param(ULTRALYTICS, marks=pytest.mark.slow),  # crowds are left out
        pytest.param(COCO.customize(iou_type="giou"), marks=pytest.mark.slow),
        pytest.param(COCO.customize(class_agnostic=True), marks=pytest.mark.slow),
    ],
    ids=lambda protocol: f"{protocol.name}-{protocol.iou_type}-{protocol.class_agnostic}",
)
def test_a_batch_of_boxes_is_matched_alike(protocol: EvaluationProtocol) -> None:
    rules = BatchRules(protocol, 2, "xyxy")
    batch = check_batch(*boxes_on_thresholds(7), np.arange(4), None, rules)

    @jax.jit
    def match_in_all_ways(batch: CheckedBatch) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
        prepare = jax.vmap(partial(prepare_image, rules=rules))
        images = prepare(batch.detections, batch.ground_truths, batch.odd_flags)
        ways = {name: match_dense(kernel, images, protocol=protocol) for name, kernel in KERNELS.items()}
        return images.valid, ways | {"lists": match_by_lists(images, protocol=protocol)}

    valid, results = jax.device_get(match_in_all_ways(batch))
    expected = results.pop("lists")
    assert expected[0].any()
    for name, result in results.items():
        for words, expected_words in zip(result, expected, strict=True):
            np.testing.assert_array_equal(words[valid], expected_words[valid], err_msg=name)
