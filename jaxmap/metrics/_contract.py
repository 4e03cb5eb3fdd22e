"""What all metrics have in common: how states add up, where results are computed, and what callers are held to.

States of counts merge by addition, and results are computed in float64 on the host, or in float32 inside `jit`.

A state carries two words about the configuration that its counts were made under: a fingerprint, and 1. Counts of two
configurations do not add up, so `update`, `merge`, `compute` and `summarize` look at the words. Outside `jit`, where
their values are known, another configuration raises at once. Inside, a state that met another one is marked, as
(fingerprint of the other, 0). No merge takes the mark away, and it raises once it comes to the host.

The words `(a, n)` are right where `a == n * fingerprint`. So they stay right where all fields of states are added up,
as `psum` does, and a state that was reset to zeros is one that has seen nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from .._counts64 import WideCount, add, add_stopping, check_counts, in_float64, to_host
from .._expected import expect
from .._geometry import _double_float as df
from .._geometry._double_float import DoubleFloat
from .._matching._data_checks import warn_once
from ..protocols import AreaRange, EvaluationProtocol
from ..types import Array

__all__ = [
    "Contract",
    "as_integers",
    "check_alike",
    "configuration",
    "difference",
    "in_jit",
    "initial_shapes",
    "shapes_by_name",
]

# What no count depends on: how much room there is, and what only reads the counts.
_READ_LATER = {
    *("max_images", "max_detections_per_image", "max_ground_truths_per_image"),
    *("class_group", "things", "empty"),
}
_READ_LATER_OF_PROTOCOL = {"name", "description", "summary", "class_groups", "recall_points", "average"}
_SHOWN = 4  # differences in one message

# How two numbers of a kind are added; all others are int32 counts.
_ADD: dict[type, Callable[[Any, Any], Any]] = {WideCount: add, DoubleFloat: df.add}

State = TypeVar("State")
Result = TypeVar("Result")

_known: dict[int, dict[str, Any]] = {}  # the configurations of this process, by fingerprint


class Contract(Generic[State, Result]):
    """The base of every metric. Metrics are frozen dataclasses; their states and results have a `configuration`.

    Results are named tuples with `counters`, and with `checks` if they have any.
    """

    _STATE: ClassVar[type]
    _RESULT: ClassVar[type]
    _OF_PROTOCOL: ClassVar[tuple[str, ...] | None] = None  # the fields of a protocol that count; None for all

    def merge(self, state: State, other: State) -> State:
        """Returns one state that has seen what both have.

        Counts of 64 bits are exact; those of 32 bits stop at 2^31 - 1, which `summarize` refuses.

        Raises:
          TypeError: if one is no state of such a metric.
          ValueError: if one is of another configuration; inside `jit`, `summarize` raises.
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
        """Returns the numbers by name, NaN where undefined, and the counters beside them.

        What is most likely not as it was meant, such as labels that are no class, is said in one `UserWarning`.

        Raises:
          TypeError: if it is no result of such a metric.
          ValueError: if it is of another configuration, or a count reached 2^31 - 1.
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

    def _words(self) -> np.ndarray:
        """Returns `[2]` uint32, what a state of this configuration carries."""
        return np.array([_fingerprint(self), 1], np.uint32)

    def _with_room_of(self, state: State) -> Contract[State, Result] | None:
        """Returns the metric whose `init` has the shapes that a state must have; None where any will do."""
        return self

    def _accept(self, **states: Any) -> jax.Array:
        """Checks states, by the names of their arguments, and returns the words for what is made of all of them.

        Raises:
          TypeError: if one is no state of such a metric.
          ValueError: if one is of another configuration; inside `jit` only if its shapes tell.
        """
        own = self._words()
        joined = jnp.asarray(own)
        for name, state in states.items():
            expect(name, state, self._STATE, "`init`, `update` or `merge`")
            words = getattr(state, "configuration", None)
            if words is None:
                raise ValueError(
                    f"`{name}` must carry the configuration that it was made under; an earlier version of jaxmap saved "
                    "it without, so evaluate again."
                )
            check_alike(f"`{name}`", words, own)
            self._check_shapes(name, state)
            if not _is_known(words):
                foreign = words[0] != own[0] * words[1]
                joined = jnp.where(foreign, words * jnp.array([1, 0], jnp.uint32), joined)
        return joined

    def _accept_result(self, result: Any) -> None:
        """Raises a TypeError or ValueError, as `_accept` does, about what is no result of this configuration."""
        expect("result", result, self._RESULT, "`compute`")
        if result.configuration is not None:
            check_alike("`result`", result.configuration, self._words())

    def _check_shapes(self, name: str, state: Any) -> None:
        like = self._with_room_of(state)
        if like is None:
            return
        expected, got = shapes_by_name(initial_shapes(like)), shapes_by_name(state)
        if expected != got:
            raise ValueError(
                f"`{name}` must have the shapes of this metric's states; it is of another configuration, or several "
                f"states along a leading axis: {difference(expected, got, 'here', 'there')}."
            )


def as_integers(counters: Mapping[str, Array]) -> dict[str, int]:
    """Returns counters as Python's integers, which do not wrap."""
    return {name: int(value) for name, value in counters.items()}


def in_jit(tree: Any) -> bool:
    """Returns whether values are traced, so that results stay on the device; else they are computed on the host."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def check_alike(name: str, words: Array, own: Array) -> None:
    """Refuses words that are not those of a metric, as far as their values are known.

    Args:
      name: of what carries them, for the message.
      words: `[..., 2]` uint32, of one state or of several along leading axes.
      own: `[2]` uint32, as a metric's `init` gives them.

    Raises:
      ValueError: saying in what the configurations differ.
    """
    if not (_is_known(words) and _is_known(own)):
        return
    fingerprint = np.asarray(own)[0]
    rows = np.asarray(words).reshape(-1, 2)
    foreign = rows[rows[:, 0] != fingerprint * rows[:, 1]]
    if not len(foreign):
        return
    word, count = foreign[0].tolist()
    happened = "was made under another configuration" if count else "met another configuration inside `jit`"
    what = f"its fingerprint is {word:08x}, that of this metric {fingerprint:08x}"
    if word in _known and int(fingerprint) in _known:
        what = difference(_known[int(fingerprint)], _known[word], "here", "there")
    if word == fingerprint:  # the other one marked it
        what = "it holds counts of this one and of another"
    raise ValueError(f"{name} {happened}, whose counts do not add up: {what}; give every state the same metric.")


def difference(one: dict[str, Any], other: dict[str, Any], where: str, where_other: str) -> str:
    """Says in which entries two descriptions differ."""
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
    """Returns what decides the counts of a metric, as plain names and numbers."""
    values: dict[str, Any] = {"metric": type(metric).__name__}
    for field in dataclasses.fields(metric):
        value = getattr(metric, field.name)
        if isinstance(value, EvaluationProtocol):
            names = metric._OF_PROTOCOL or sorted(vars(value).keys() - _READ_LATER_OF_PROTOCOL)
            values |= {f"protocol.{name}": _plain(getattr(value, name)) for name in names}
        elif field.name not in _READ_LATER:
            values[field.name] = _plain(value)
    return values


@functools.lru_cache(maxsize=1024)
def initial_shapes(metric: Any) -> Any:
    """Returns the state that `init` makes, as shapes and dtypes alone."""
    return jax.eval_shape(metric.init)


def shapes_by_name(state: Any) -> dict[str, str]:
    """Returns the dtype and shape of every array of a state, by its place in it."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


@functools.lru_cache(maxsize=1024)
def _fingerprint(metric: Any) -> int:
    """Returns 32 bits, the same in every process; odd, so that no sum of fewer than 2^32 is 0."""
    values = configuration(metric)
    word = zlib.crc32(repr(sorted(values.items())).encode()) | 1
    _known[word] = values
    return word


def _plain(value: Any) -> Any:
    """Returns Python's numbers, whole ones as int, so that equal values read alike; of a range its bounds."""
    if isinstance(value, AreaRange):
        value = value.low, value.high
    if isinstance(value, tuple | list):
        return tuple(_plain(one) for one in value)
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return int(value) if float(value).is_integer() else float(value)
    return value


def _short(value: Any) -> str:
    text = str(value)
    return text if isinstance(value, str) or len(text) <= 60 else f"{text[:45]}... of {len(value)}"


def _is_known(words: Array) -> bool:
    """Returns whether Python may read the values: no tracer, and no array that lies on other processes."""
    if in_jit(words):
        return False
    return not isinstance(words, jax.Array) or words.is_fully_addressable or words.is_fully_replicated
