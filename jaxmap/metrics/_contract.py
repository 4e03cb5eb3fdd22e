"""The base of all metrics: how states merge, where results are computed, and checks of arguments and configurations.

States of counts merge by addition. Results are computed in float64 on the host, or in float32 inside `jit`.

A state carries two words about the configuration of its metric: a fingerprint, and 1. Counts of different
configurations cannot be added, so `update`, `merge`, `compute` and `summarize` check the words. Outside `jit`, where
their values are known, another configuration raises at once. Inside, a state that was combined with one of another
configuration is marked as (fingerprint of the other, 0). No merge removes the mark, and it raises when it reaches the
host.

The words `(a, n)` are valid if `a == n * fingerprint`. So they stay valid if all fields of states are added up, as
`psum` does, and a state that is reset to zeros is a valid empty state.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .._counts64 import WideCount, add, add_stopping, check_counts, in_float64, to_host
from .._expected import expect
from .._geometry import _double_float as df
from .._geometry._double_float import DoubleFloat
from .._matching._data_checks import warn_once
from .._pytrees import register_static
from ..protocols import AreaRange, EvaluationProtocol, SummaryRow
from ..types import Array, Scalar
from ._placement import in_jit, keeps_sharding

__all__ = [
    "Contract",
    "as_integers",
    "check_alike",
    "configuration",
    "difference",
    "initial_shapes",
    "register_metric",
    "shapes_by_name",
]

# Fields that no count depends on: capacities, and what is only read after counting.
_READ_LATER = {
    *("max_images", "max_detections_per_image", "max_ground_truths_per_image"),
    *("class_group", "things", "empty"),
}
_READ_LATER_OF_PROTOCOL = {"name", "description", "summary", "class_groups", "recall_points", "average"}
_SHOWN = 4  # the most differences in one message

# How two numbers of a kind are added; all others are int32 counts.
_ADD: dict[type, Callable[[Any, Any], Any]] = {WideCount: add, DoubleFloat: df.add}

State = TypeVar("State")
Result = TypeVar("Result")
Metric = TypeVar("Metric")

_known: dict[int, dict[str, Any]] = {}  # the configurations in this process, by fingerprint


class Contract(Generic[State, Result]):
    """The base of every metric. Metrics are frozen dataclasses; their states and results have a `configuration`.

    Results are named tuples with `counters`, and with `checks` if they have any.
    """

    _STATE: ClassVar[type]
    _RESULT: ClassVar[type]
    _OF_PROTOCOL: ClassVar[tuple[str, ...] | None] = (
        None  # the fields of the protocol that counts depend on; None for all
    )

    @keeps_sharding
    def merge(self, state: State, other: State) -> State:
        """Returns the combination of two states.

        Counts of 64 bits are exact. Counts of 32 bits stop at 2^31 - 1, and `summarize` raises then.

        Raises:
          TypeError: if one is not a state of such a metric.
          ValueError: if one has another configuration; inside `jit`, `summarize` raises.
        """
        configuration = self._accept(state=state, other=other)
        added: Any = jax.tree.map(
            lambda one, more: _ADD.get(type(one), add_stopping)(one, more),
            state,
            other,
            is_leaf=lambda node: type(node) in _ADD,
        )
        return cast(State, dataclasses.replace(added, configuration=configuration))

    def summarize(self, result: Result) -> dict[str, float]:
        """Returns the numbers by name, NaN where undefined, and the counters.

        Gives one `UserWarning` about likely mistakes, such as labels that are not classes.

        Raises:
          TypeError: if it is not a result of such a metric, or inside `jit`.
          ValueError: if it has another configuration, or a count reached 2^31 - 1.
        """
        self._accept_result(result)
        fields = cast(Any, result)._asdict()
        check_counts([value for name, value in fields.items() if name != "checks"])
        on_host = to_host(result)
        warn_once(self._advise(on_host))
        numbers = {name: value if type(value) is int else float(value) for name, value in self._named(on_host).items()}
        return numbers | as_integers({name: on_host.counters[name] for name in fields["counters"]})  # in their order

    def _named(self, result: Result) -> Mapping[str, Any]:
        """Returns what `summarize` reports of a result on the host: floats, and Python's integers."""
        raise NotImplementedError

    def _advise(self, result: Result) -> Iterable[str]:
        """Yields what `summarize` warns about in a result on the host."""
        return ()

    def _computed(self, numbers: Callable[..., Result], state: State, *given: Any) -> Result:
        """Returns `numbers(state, *given)`: float64 NumPy on the host, or, inside `jit`, float32 on the device."""
        configuration = self._accept(state=state)
        result: Any = numbers(state, *given) if in_jit(state) else in_float64(numbers, state, *given)
        return cast(Result, result._replace(configuration=configuration))

    def _counted_by(self) -> Mapping[str, Any]:
        """Returns what the counts depend on beyond the options, where one that is read later decides them after all."""
        return {}

    def _words(self) -> NDArray[np.uint32]:
        """Returns `[2]` uint32, the words that a state of this configuration carries."""
        return np.array([_fingerprint(self), 1], np.uint32)

    def _with_room_of(self, state: State) -> Contract[State, Result] | None:
        """Returns the metric whose `init` has the shapes that a state must have; None if any shapes are valid."""
        return self

    def _accept(self, **states: Any) -> jax.Array:
        """Checks states, given by argument name, and returns the words of their combination.

        Raises:
          TypeError: if one is not a state of such a metric.
          ValueError: if one has another configuration; inside `jit` only if its shapes differ.
        """
        own = self._words()
        joined = jnp.asarray(own)
        for name, state in states.items():
            expect(name, state, self._STATE, "`init`, `update` or `merge`")
            words = getattr(state, "configuration", None)
            if words is None:
                raise ValueError(
                    f"`{name}` must carry the configuration of its metric; an earlier version of jaxmap saved it "
                    f"without, so evaluate again."
                )
            check_alike(f"`{name}`", words, own)
            self._check_shapes(name, state)
            if not _is_known(words):
                foreign = words[0] != own[0] * words[1]
                joined = jnp.where(foreign, words * jnp.array([1, 0], jnp.uint32), joined)
        return joined

    def _accept_result(self, result: Any) -> None:
        """Raises a TypeError or ValueError, like `_accept`, if the argument is not a result of this configuration."""
        expect("result", result, self._RESULT, "`compute`")
        if in_jit(result):
            raise TypeError(
                "`result` must hold known numbers, got traced ones: inside `jit` there are no Python numbers. Return "
                "the state, or the result of the metric's `compute`, from the compiled function, and call "
                "`summarize`, or the `compute` of a wrapper, outside."
            )
        if result.configuration is not None:
            check_alike("`result`", result.configuration, self._words())

    def _check_shapes(self, name: str, state: Any) -> None:
        like = self._with_room_of(state)
        if like is None:
            return
        expected, got = shapes_by_name(initial_shapes(like)), shapes_by_name(state)
        if expected != got:
            raise ValueError(
                f"`{name}` must have the shapes of this metric's states; it has another configuration, or holds "
                f"several states along a leading axis: {difference(expected, got, 'here', 'there')}."
            )


def register_metric(kind: type[Metric]) -> type[Metric]:
    """Registers the class of a metric: its values are static in `jit`, and exported programs hold their options."""

    def from_options(text: str) -> Any:
        options = json.loads(text, object_hook=lambda found: {name: _as_tuple(value) for name, value in found.items()})
        if "protocol" in options:
            protocol = options["protocol"]
            protocol["area_ranges"] = [AreaRange(**one) for one in protocol["area_ranges"]]
            protocol["summary"] = [SummaryRow(**row) for row in protocol["summary"]]
            options["protocol"] = EvaluationProtocol(**protocol)
        return kind(**options)

    return register_static(kind, lambda metric: json.dumps(dataclasses.asdict(metric)), from_options)


def as_integers(counters: Mapping[str, Scalar]) -> dict[str, int]:
    """Returns counters as Python's integers, which do not wrap."""
    return {name: int(value) for name, value in counters.items()}


def check_alike(name: str, words: Array, own: Array) -> None:
    """Refuses words that differ from those of a metric, as far as their values are known.

    Args:
      name: the name of their state, for the message.
      words: `[..., 2]` uint32, of one state or of several along leading axes.
      own: `[2]` uint32, the words of the metric.

    Raises:
      ValueError: if they differ; the message names the differences in configuration.
    """
    if not (_is_known(words) and _is_known(own)):
        return
    fingerprint = np.asarray(own)[0]
    rows = np.asarray(words).reshape(-1, 2)
    foreign = rows[rows[:, 0] != fingerprint * rows[:, 1]]
    if not len(foreign):
        return
    word, count = foreign[0].tolist()
    happened = "has another configuration" if count else "was combined with another configuration inside `jit`"
    what = f"its fingerprint is {word:08x}, that of this metric {fingerprint:08x}"
    if word in _known and int(fingerprint) in _known:
        what = difference(_known[int(fingerprint)], _known[word], "here", "there")
    if word == fingerprint:  # the first word is that of the other
        what = "it has counts of this one and of another"
    raise ValueError(
        f"{name} {happened}, and counts of two configurations cannot be added: {what}; use the same metric for every "
        "state."
    )


def difference(one: dict[str, Any], other: dict[str, Any], where: str, where_other: str) -> str:
    """Describes the entries in which two configurations differ."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        here, there = one.get(name), other.get(name)
        if here == there:
            continue
        if isinstance(here, tuple | list) and isinstance(there, tuple | list) and len(here) == len(there):
            place = next(index for index in range(len(here)) if here[index] != there[index])
            name, here, there = f"{name}[{place}]", here[place], there[place]
        found.append(f"{name} is {_short(here)} {where} and {_short(there)} {where_other}")
    return ", ".join(found[:_SHOWN] + [f"and {len(found) - _SHOWN} more"] * (len(found) > _SHOWN))


@functools.lru_cache(maxsize=1024)
def configuration(metric: Any) -> dict[str, Any]:
    """Returns everything that the counts of a metric depend on, as plain names and numbers."""
    values: dict[str, Any] = {"metric": type(metric).__name__}
    for field in dataclasses.fields(metric):
        value = getattr(metric, field.name)
        if isinstance(value, EvaluationProtocol):
            names = metric._OF_PROTOCOL or sorted(vars(value).keys() - _READ_LATER_OF_PROTOCOL)
            values |= {f"protocol.{name}": _plain(getattr(value, name)) for name in names}
        elif field.name not in _READ_LATER:
            values[field.name] = _plain(value)
    values.update(metric._counted_by())
    return values


@functools.lru_cache(maxsize=1024)
def initial_shapes(metric: Any) -> Any:
    """Returns the shapes and dtypes of the state that `init` returns."""
    return jax.eval_shape(metric.init)


def shapes_by_name(state: Any) -> dict[str, str]:
    """Returns the dtype and shape of every array of a state, by its path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


@functools.lru_cache(maxsize=1024)
def _fingerprint(metric: Any) -> int:
    """Returns 32 bits that are the same in every process; odd, so that no sum of fewer than 2^32 of them is 0."""
    values = configuration(metric)
    word = zlib.crc32(repr(sorted(values.items())).encode()) | 1
    _known[word] = values
    return word


def _plain(value: Any) -> Any:
    """Returns plain Python values, whole numbers as int, so that equal values look alike; ranges as their bounds."""
    if isinstance(value, AreaRange):
        value = value.low, value.high
    if isinstance(value, tuple | list):
        return tuple(_plain(one) for one in value)
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return int(value) if float(value).is_integer() else float(value)
    return value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if isinstance(value, str) or len(text) <= 60 else f"{text[:45]}... of {len(value)}"


def _is_known(words: Array) -> bool:
    """Returns whether Python can read the values: False for tracers and for arrays of other processes."""
    if in_jit(words):
        return False
    return not isinstance(words, jax.Array) or words.is_fully_addressable or words.is_fully_replicated
