"""What an item consists of: nested named arrays, their shapes and dtypes.

A signature is any nesting of dicts, tuples, lists and NamedTuples whose leaves are
`jaxrl_dist.types.ArraySpec` or `ColumnSpec`. An item's arrays have the rows as leading
axis, and so do the shapes: `ArraySpec((2, 84, 84, 4), np.uint8)` is a column of items
of two rows. Columns are the leaves in Reverb's order: dicts by sorted key, everything
else as it stands.
"""

import collections
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.replay.reverb.dtypes import (
    dtype_number,
    dtype_of_name,
    dtype_of_number,
)
from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError
from jaxrl_dist.types import ArraySpec, ArrayTree

MAX_DEPTH = 32
MAX_COLUMNS = 4096


class ColumnSpec(NamedTuple):
    """Shape and dtype of one column; None is an axis of any length."""

    shape: tuple[Any, ...]  # of int, or None
    dtype: Any


class _Node(NamedTuple):
    """One container, or one array if kind is "array"."""

    kind: str  # "array", "dict", "tuple", "list" or "namedtuple"
    names: tuple[str, ...] = ()
    parts: tuple["_Node", ...] = ()
    make: Callable | None = None  # builds the NamedTuple from its parts
    spec: ColumnSpec | None = None  # of an array


class Signature:
    """The structure, shapes and dtypes of a table's items.

    Attributes:
        specs: one ColumnSpec per column.
        paths: the columns' names, such as "observation/pixels".
    """

    def __init__(self, structure: ArrayTree):
        """Reads a nested structure whose leaves are ArraySpec.

        Raises:
            SignatureError: a leaf is no ArraySpec, or a dtype unknown to Reverb.
        """
        self._root = structure if isinstance(structure, _Node) else _read(structure, "")
        columns = list(_columns(self._root, ""))
        self.paths = tuple(path for path, _ in columns)
        self.specs = tuple(spec for _, spec in columns)
        if not 0 < len(self.specs) <= MAX_COLUMNS:
            raise SignatureError(
                f"a signature has 1 to {MAX_COLUMNS} arrays, got {len(self.specs)}"
            )

    def flatten(self, values: ArrayTree) -> list[Any]:
        """The leaves of a structure like this one, in the order of the columns.

        Raises:
            SignatureError: the structure differs; the message says where.
        """
        leaves: list[Any] = []
        _flatten(self._root, values, leaves, "")
        return leaves

    def unflatten(self, leaves: Sequence[Any]) -> ArrayTree:
        """Nests one leaf per column into the structure of the signature."""
        return _unflatten(self._root, iter(leaves))

    def describe(self) -> dict:
        """As JSON: containers as {kind: content}, arrays as {"array": {...}}."""
        return _describe(self._root)

    def difference(self, other: "Signature") -> str:
        """How another signature cannot hold the same items; empty if it can.

        Names of NamedTuple classes do not matter, names of fields do; lists and tuples
        are alike; an axis of any length fits every length.
        """
        if self.paths != other.paths:
            return f"columns {list(self.paths)} against {list(other.paths)}"
        for path, mine, theirs in zip(self.paths, self.specs, other.specs, strict=True):
            fits = mine.dtype == theirs.dtype and len(mine.shape) == len(theirs.shape)
            sizes = zip(mine.shape, theirs.shape, strict=False)
            if not fits or any(a != b and None not in (a, b) for a, b in sizes):
                return (
                    f"{path}: {mine.dtype}{list(mine.shape)} against "
                    f"{theirs.dtype}{list(theirs.shape)}"
                )
        return ""

    @classmethod
    def of_rows(cls, example: ArrayTree, num_rows: int | None) -> "Signature":
        """The signature of items of `num_rows` rows, one of which looks like `example`.

        Args:
            example: one row: nested arrays, numbers or ArraySpec, without time or batch
                axes.
            num_rows: rows of each item; None if they differ.

        Raises:
            SignatureError: a leaf has a dtype unknown to Reverb.
        """

        def spec(leaf: Any) -> ColumnSpec:
            is_spec = isinstance(leaf, (ArraySpec, ColumnSpec))
            array = leaf if is_spec else np.asarray(leaf)
            return ColumnSpec((num_rows, *array.shape), array.dtype)

        return cls(_read(example, "", spec))

    @classmethod
    def from_description(cls, described: Any) -> "Signature":
        """Reads what `describe` wrote.

        Raises:
            SignatureError: it is not of that form.
        """
        try:
            return cls(_from_description(described))
        except SignatureError:
            raise
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise SignatureError(f"not a signature: {described!r}") from error

    @classmethod
    def from_proto(cls, message: Any) -> "Signature":
        """Reads a StructuredValue.

        Raises:
            ProtocolError: it holds anything but containers of tensor specs.
        """
        try:
            return cls(_from_proto(message, 0))
        except SignatureError as error:
            raise ProtocolError(f"a table's signature is unusable: {error}") from error


def _array(spec: ArraySpec | ColumnSpec, path: str) -> _Node:
    dtype_number(spec.dtype)
    for size in spec.shape:
        if size is not None and not 0 <= size < 1 << 40:
            raise SignatureError(f"{path or 'the array'} has an axis of length {size}")
    return _Node("array", spec=ColumnSpec(tuple(spec.shape), np.dtype(spec.dtype)))


def _read(
    value: Any, path: str, spec: Callable[[Any], ColumnSpec] | None = None
) -> _Node:
    """Turns a nested structure into nodes; `spec` makes a leaf's ColumnSpec."""
    if isinstance(value, (ArraySpec, ColumnSpec)):
        return _array(value if spec is None else spec(value), path)

    def read(name: str, part: Any) -> _Node:
        return _read(part, f"{path}/{name}", spec)

    if isinstance(value, dict):
        names = tuple(sorted(value))
        return _Node("dict", names, tuple(read(name, value[name]) for name in names))
    fields = getattr(value, "_fields", None)
    if isinstance(value, tuple) and fields is not None:
        parts = tuple(read(name, getattr(value, name)) for name in fields)
        return _Node("namedtuple", fields, parts, type(value))
    if isinstance(value, (tuple, list)):
        parts = tuple(read(str(index), part) for index, part in enumerate(value))
        return _Node("tuple" if isinstance(value, tuple) else "list", (), parts)
    if spec is None or value is None:
        raise SignatureError(f"{path or 'the signature'} is no ArraySpec: {value!r}")
    return _array(spec(value), path)


def _child_names(node: _Node) -> Sequence[str]:
    return node.names or [str(index) for index in range(len(node.parts))]


def _columns(node: _Node, path: str):
    if node.spec is not None:
        yield path or "array", node.spec
    for name, part in zip(_child_names(node), node.parts, strict=True):
        yield from _columns(part, f"{path}/{name}" if path else name)


def _flatten(node: _Node, value: Any, leaves: list[Any], path: str) -> None:
    if node.kind == "array":
        leaves.append(value)
        return
    parts = _parts_of(node, value)
    if parts is None:
        what = type(value).__name__
        raise SignatureError(
            f"{path or 'the data'} should be a {node.kind} of "
            f"{list(_child_names(node))}, got a {what}"
        )
    for name, child, part in zip(_child_names(node), node.parts, parts, strict=True):
        if child.kind == "array":
            leaves.append(part)
        else:
            _flatten(child, part, leaves, f"{path}/{name}" if path else name)


def _parts_of(node: _Node, value: Any) -> Sequence[Any] | None:
    """The parts of a container, in order; None if it is another one."""
    if node.kind == "dict":
        if not isinstance(value, dict) or len(value) != len(node.names):
            return None
        try:
            return [value[name] for name in node.names]
        except KeyError:
            return None
    fits = isinstance(value, (tuple, list)) and len(value) == len(node.parts)
    fits = fits and getattr(value, "_fields", node.names) == node.names
    return value if fits else None


def _unflatten(node: _Node, leaves: Any) -> Any:
    if node.kind == "array":
        return next(leaves)
    parts = [_unflatten(part, leaves) for part in node.parts]
    if node.kind == "dict":
        return dict(zip(node.names, parts, strict=True))
    if node.make is not None:
        return node.make(*parts)
    return parts if node.kind == "list" else tuple(parts)


def _describe(node: _Node) -> dict:
    if node.spec is not None:
        shape = list(node.spec.shape)
        return {"array": {"shape": shape, "dtype": np.dtype(node.spec.dtype).name}}
    parts = [_describe(part) for part in node.parts]
    if node.kind == "dict":
        return {"dict": dict(zip(node.names, parts, strict=True))}
    if node.kind == "namedtuple":
        fields = [[name, part] for name, part in zip(node.names, parts, strict=True)]
        name = getattr(node.make, "__name__", "Item")
        return {"namedtuple": {"name": name, "fields": fields}}
    return {node.kind: parts}


@functools.lru_cache(maxsize=256)
def _namedtuple_class(name: str, fields: tuple[str, ...]) -> Callable:
    """A NamedTuple for a signature that came without its class."""
    try:
        return collections.namedtuple(name, fields)  # noqa: PYI024 - fields are data
    except ValueError as error:
        raise SignatureError(f"no NamedTuple can be named so: {error}") from error


def _from_description(described: dict) -> _Node:
    ((kind, content),) = described.items()
    if kind == "array":
        spec = ColumnSpec(tuple(content["shape"]), dtype_of_name(content["dtype"]))
        return _array(spec, "")
    if kind == "dict":
        names = tuple(sorted(content))
        parts = tuple(_from_description(content[name]) for name in names)
        return _Node("dict", names, parts)
    if kind == "namedtuple":
        names = tuple(name for name, _ in content["fields"])
        parts = tuple(_from_description(part) for _, part in content["fields"])
        return _Node(kind, names, parts, _namedtuple_class(content["name"], names))
    if kind in ("tuple", "list"):
        return _Node(kind, (), tuple(map(_from_description, content)))
    raise SignatureError(f"unknown kind of container {kind!r}")


def _from_proto(message: Any, depth: int) -> _Node:
    if depth > MAX_DEPTH:
        raise SignatureError(f"nested deeper than {MAX_DEPTH}")
    kind = message.WhichOneof("kind")
    content: Any = getattr(message, kind) if kind else None
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        if content.shape.unknown_rank:
            raise SignatureError("an array's number of axes is left open")
        sizes = [dim.size if dim.size >= 0 else None for dim in content.shape.dim]
        return _array(ColumnSpec(tuple(sizes), dtype_of_number(content.dtype)), "")
    if kind == "dict_value":
        names = tuple(sorted(content.fields))
        parts = tuple(_from_proto(content.fields[name], depth + 1) for name in names)
        return _Node("dict", names, parts)
    if kind == "named_tuple_value":
        names = tuple(pair.key for pair in content.values)
        parts = tuple(_from_proto(pair.value, depth + 1) for pair in content.values)
        make = _namedtuple_class(content.name, names)
        return _Node("namedtuple", names, parts, make)
    if kind in ("list_value", "tuple_value"):
        parts = tuple(_from_proto(part, depth + 1) for part in content.values)
        return _Node(kind.removesuffix("_value"), (), parts)
    raise SignatureError(f"it holds {kind or 'nothing known'}")
