"""Configuration as JSON, and back: nested frozen dataclasses, nothing else.

A dataclass becomes an object whose `"type"` says which one it is:

    {"type": "jaxrl_dist.agents.ppo:PPOConfig", "learning_rate": 0.0003, ...}

Reading builds dataclasses of this package and those that the caller names. A file can
therefore not make it import or call anything else.
"""

import dataclasses
import difflib
import importlib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxrl_dist.checks import settings_of

PACKAGE = __name__.partition(".")[0]
TYPE = "type"
MISSING = object()


def to_json(config: Any) -> dict[str, Any]:
    """Says a configuration in terms of JSON.

    Args:
        config: a dataclass of None, bool, int, float, str, tuples, lists, mappings
            with str keys, and dataclasses.

    Returns:
        Something for `json.dumps`.

    Raises:
        ValueError: `config` is no dataclass, or holds something else; the message says
            where.
    """
    if not _is_config(config):
        raise ValueError(f"a configuration is a dataclass, got {config!r}")
    return _to_json(config, at="")


def from_json(data: Mapping[str, Any], *, classes: Sequence[type] = ()) -> Any:
    """Builds a configuration again. Each dataclass checks its settings as ever.

    Args:
        data: of `to_json`. Settings that it lacks have their default.
        classes: dataclasses that may be built besides those of this package.

    Returns:
        The outermost dataclass; `from_json(to_json(config)) == config`.

    Raises:
        ValueError: a type or setting is unknown, missing or wrong; the message says
            where, in one line.
    """
    return _read_config(data, "", {_tag(cls): cls for cls in classes})


def differences(before: Any, after: Any) -> list[str]:
    """Lists the settings in which two configurations differ.

    Args:
        before: a dataclass.
        after: another.

    Returns:
        Lines such as "agent.learning_rate: 0.001 -> 0.003", in the order of the fields.
    """
    return _differences(before, after, at="")


def leaves(config: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Goes through the settings of a configuration, those of dataclasses within it too.

    Args:
        config: a dataclass.
        at: where it stands.

    Yields:
        Names such as "agent.learning_rate", and values that are no dataclasses.
    """
    for name in _settings(type(config)):
        value, path = getattr(config, name), _join(at, name)
        if _is_config(value):
            yield from leaves(value, path)
        else:
            yield path, value


def _to_json(value: Any, at: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if _is_config(value):
        fields = {
            name: _to_json(getattr(value, name), _join(at, name))
            for name in _settings(type(value))
        }
        return {TYPE: _tag(type(value)), **fields}
    if isinstance(value, tuple | list):
        return [_to_json(each, _join(at, index)) for index, each in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _to_json(each, _join(at, key)) for key, each in value.items()}
    raise ValueError(f"{at} cannot be written as JSON: {value!r}")


def _read(value: Any, annotation: Any, at: str, classes: Mapping[str, type]) -> Any:
    """Reads one value as its annotation says."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _read_union(value, arguments, at, classes)
    if origin is typing.Literal:
        if value not in arguments:
            raise _wrong(at, " or ".join(map(repr, arguments)), value)
        return value
    container = origin or annotation
    if container in (tuple, list, Sequence):
        return _read_sequence(value, annotation, at, classes)
    if isinstance(container, type) and issubclass(container, Mapping):
        return _read_mapping(value, arguments, at, classes)
    if _is_tagged(value) or dataclasses.is_dataclass(annotation):
        config = _read_config(value, at, classes)
        if not _fits(config, annotation):
            raise _wrong(at, _name(annotation), value[TYPE])
        return config
    return _read_scalar(value, annotation, at)


def _read_union(
    value: Any, members: Sequence[Any], at: str, classes: Mapping[str, type]
) -> Any:
    if _is_tagged(value):
        config = _read_config(value, at, classes)
        if any(_fits(config, member) for member in members):
            return config
    for member in members:
        try:
            return _read(value, member, at, classes)
        except ValueError:
            continue
    raise _wrong(at, " or ".join(map(_name, members)), value)


def _read_sequence(
    value: Any, annotation: Any, at: str, classes: Mapping[str, type]
) -> Any:
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if not isinstance(value, list | tuple):
        raise _wrong(at, "a list", value)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _wrong(at, f"a list of {len(arguments)}", value)
        members = arguments
    else:
        members = [arguments[0] if arguments else Any] * len(value)
    build = list if origin is list else tuple
    return build(
        _read(each, member, _join(at, index), classes)
        for index, (each, member) in enumerate(zip(value, members, strict=True))
    )


def _read_mapping(
    value: Any, arguments: Sequence[Any], at: str, classes: Mapping[str, type]
) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(at, "an object", value)
    member = arguments[1] if arguments else Any
    return {
        key: _read(each, member, _join(at, key), classes) for key, each in value.items()
    }


def _read_scalar(value: Any, annotation: Any, at: str) -> Any:
    accepted = {
        None: (type(None),),
        type(None): (type(None),),
        bool: (bool,),
        int: (int,),
        float: (int, float),
        str: (str,),
    }.get(annotation)
    # A bool is an int to Python, but not to whoever reads a configuration.
    mixed_up = isinstance(value, bool) and annotation in (int, float)
    if accepted is not None and (mixed_up or not isinstance(value, accepted)):
        raise _wrong(at, _name(annotation), value)
    return value


def _read_config(data: Any, at: str, classes: Mapping[str, type]) -> Any:
    where = f"{at} " if at else "the configuration "
    if not _is_tagged(data):
        raise ValueError(f'{where}must be an object with a "{TYPE}", got {data!r}')
    cls = _class(data[TYPE], where, classes)
    hints, names = typing.get_type_hints(cls), _settings(cls)
    for name in data:
        if name != TYPE and name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else f", only {list(names)}"
            raise ValueError(f"{where}has no setting {name}{hint}")
    for name, field in names.items():
        if name not in data and _is_required(field):
            raise ValueError(f"{where}lacks the setting {name}")
    settings = {
        name: _read(data[name], hints[name], _join(at, name), classes)
        for name in names
        if name in data
    }
    with settings_of(at, cls):
        return cls(**settings)


def _class(tag: str, where: str, classes: Mapping[str, type]) -> type:
    if tag in classes:
        return classes[tag]
    module, _, name = tag.partition(":")
    unknown = ValueError(f'{where}has the unknown type "{tag}"')
    if not f"{module}.".startswith(f"{PACKAGE}."):
        raise unknown
    try:
        cls = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise unknown from error
    # What a module merely imports is not its own, and not for a file to name.
    if not dataclasses.is_dataclass(cls) or _tag(typing.cast(type, cls)) != tag:
        raise unknown
    return typing.cast(type, cls)


def _differences(before: Any, after: Any, at: str) -> list[str]:
    if _is_config(before) and type(before) is type(after):
        names = list(_settings(type(before)))
        pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        names = [*before, *(name for name in after if name not in before)]
        pairs = [(x, before.get(x, MISSING), after.get(x, MISSING)) for x in names]
    elif before == after and type(before) is type(after):
        return []
    else:
        return [f"{at or 'configuration'}: {_show(before)} -> {_show(after)}"]
    return [
        line
        for name, old, new in pairs
        for line in _differences(old, new, _join(at, name))
    ]


def _show(value: Any) -> str:
    if value is MISSING:
        return "not set"
    return type(value).__name__ if _is_config(value) else repr(value)


def _wrong(at: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{at} must be {expected}, got {value!r}")


def _is_tagged(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get(TYPE), str)


def _fits(config: Any, annotation: Any) -> bool:
    # A protocol is checked by whoever builds from the configuration.
    if annotation is Any or getattr(annotation, "_is_protocol", False):
        return True
    return isinstance(annotation, type) and isinstance(config, annotation)


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _settings(cls: type) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def _is_required(field: dataclasses.Field) -> bool:
    return (
        field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    )


def _name(annotation: Any) -> str:
    if annotation is type(None):
        return "None"
    return getattr(annotation, "__name__", str(annotation))


def _tag(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _join(at: str, name: str | int) -> str:
    return f"{at}.{name}" if at else str(name)
