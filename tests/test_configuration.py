"""Configurations survive JSON exactly, and wrong ones are refused in one line."""

import dataclasses
import json
import sys
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

import pytest

from jaxrl_dist import configuration
from jaxrl_dist.configuration import differences, from_json, to_json


@dataclasses.dataclass(frozen=True)
class Inner:
    """A component."""

    sizes: tuple[int, ...] = (64, 64)
    pair: tuple[float, str] = (0.5, "x")
    rate: float = 1e-3


@dataclasses.dataclass(frozen=True)
class Other:
    """Another component that may stand in the same place."""

    depth: int = 3


class AnyComponent(Protocol):
    """What both components are, without being dataclasses of one family."""


@dataclasses.dataclass(frozen=True)
class Outer:
    """Everything that a configuration may hold."""

    name: str
    agent: Inner | Other = Inner()
    optional: Inner | None = None
    loose: AnyComponent = Other()
    mode: Literal["greedy", "sampled"] = "greedy"
    steps: int | None = None
    clip: float | tuple[float, float] | None = None
    noted: Annotated[bool, "unit"] = False
    params: Mapping[str, float | int | tuple[int, ...]] = dataclasses.field(
        default_factory=dict
    )
    several: tuple[Inner | Other, ...] = ()
    items: list[str] = dataclasses.field(default_factory=list)
    anything: Any = None
    derived: int = dataclasses.field(init=False, default=7)


CLASSES = (Inner, Outer, Other)
EVERYTHING = Outer(
    name='with "quotes" and ü',
    agent=Other(depth=9),
    optional=Inner(sizes=(), pair=(0.1 + 0.2, ""), rate=1e-300),
    loose=Inner(),
    mode="sampled",
    steps=10**12,
    clip=(0.1, 0.2),
    noted=True,
    params={"max_steps_in_episode": 500, "gravity": 9.8, "shape": (1, 2)},
    several=(Inner(), Other()),
    items=["a", "b"],
    anything=[1, None],
)


def read_back(config: Outer) -> Outer:
    return from_json(json.loads(json.dumps(to_json(config))), classes=CLASSES)


@pytest.mark.parametrize("config", [EVERYTHING, Outer("plain"), Outer("x", clip=0.3)])
def test_a_configuration_survives_json_exactly(config):
    again = read_back(config)
    assert again == config
    assert repr(again) == repr(config)  # 1 == 1.0, (1,) != [1]: types too
    assert differences(config, again) == []


def test_each_dataclass_says_its_type():
    data = to_json(EVERYTHING)
    assert data["type"] == f"{__name__}:Outer"
    assert data["agent"] == {"type": f"{__name__}:Other", "depth": 9}
    assert "derived" not in data


def test_settings_that_a_file_lacks_have_their_default():
    data = {"type": f"{__name__}:Outer", "name": "old"}
    assert from_json(data, classes=CLASSES) == Outer("old")


@dataclasses.dataclass(frozen=True)
class Checked:
    """A component that checks its settings."""

    gamma: float = 0.9

    def __post_init__(self) -> None:
        """Refuses what is out of range."""
        if self.gamma > 1:
            raise ValueError(f"gamma must be at most 1, got {self.gamma}")


def test_settings_are_checked_as_ever():
    data = to_json(Checked()) | {"gamma": 2.0}
    with pytest.raises(ValueError, match=r"gamma must be at most 1, got 2\.0"):
        from_json(data, classes=[Checked])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "x"}, "the configuration has no setting nmae; did you mean name?"),
        ({"zzz": 1}, r"has no setting zzz, only \['name', 'agent'"),
        ({"steps": 1.5}, "steps must be int or None, got 1.5"),
        ({"steps": True}, "steps must be int or None, got True"),
        ({"name": 3}, "name must be str, got 3"),
        ({"noted": 1}, "noted must be bool, got 1"),
        ({"mode": "best"}, "mode must be 'greedy' or 'sampled', got 'best'"),
        ({"agent": {"depth": 1}}, "agent must be Inner or Other, got"),
        ({"agent": {"type": "o.s:Inner"}}, 'agent has the unknown type "o.s:Inner"'),
        (
            {"agent": {"type": f"{__name__}:Other", "width": 1}},
            "agent has no setting w",
        ),
        (
            {"optional": {"type": f"{__name__}:Other"}},
            "optional must be Inner or None, got",
        ),
        ({"several": 4}, "several must be a list, got 4"),
        ({"several": [4]}, r"several\.0 must be Inner or Other, got 4"),
        ({"params": [4]}, r"params must be an object, got \[4\]"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_json(to_json(Outer("x")) | changes, classes=CLASSES)
    assert "\n" not in str(caught.value)


def test_a_setting_without_default_must_be_there():
    with pytest.raises(ValueError, match="the configuration lacks the setting name"):
        from_json({"type": f"{__name__}:Outer"}, classes=CLASSES)


@pytest.mark.parametrize(
    "tag",
    [
        f"{__name__}:Inner",  # a dataclass, but not ours and not given
        "os:system",
        "jaxrl_dist_evil:Inner",
        "jaxrl_dist.no_such_module:Inner",
        "jaxrl_dist.configuration:to_json",
        "jaxrl_dist.configuration:dataclasses.Field",
        "jaxrl_dist.configuration:importlib",
        "jaxrl_dist.types:TimeStep",
        "Inner",
        "",
    ],
)
def test_only_dataclasses_of_this_package_are_built(tag):
    with pytest.raises(
        ValueError, match=f'the configuration has the unknown type "{tag}'
    ):
        from_json({"type": tag})


def test_what_a_module_merely_imports_is_not_built(monkeypatch):
    monkeypatch.setattr(configuration, "Inner", Inner, raising=False)
    with pytest.raises(ValueError, match="has the unknown type"):
        from_json({"type": "jaxrl_dist.configuration:Inner"})


def test_a_package_of_a_similar_name_is_not_ours(monkeypatch):
    module = types.ModuleType("jaxrl_dist_evil")
    monkeypatch.setitem(sys.modules, "jaxrl_dist_evil", module)
    cls = dataclasses.make_dataclass("Evil", [])
    cls.__module__ = "jaxrl_dist_evil"
    monkeypatch.setattr(module, "Evil", cls, raising=False)
    with pytest.raises(ValueError, match="has the unknown type"):
        from_json({"type": "jaxrl_dist_evil:Evil"})


def test_data_without_a_type_is_refused():
    with pytest.raises(
        ValueError, match='configuration must be an object with a "type"'
    ):
        from_json({"name": "x"})
    with pytest.raises(
        ValueError, match='configuration must be an object with a "type"'
    ):
        from_json([])  # pyright: ignore[reportArgumentType]


def test_what_json_cannot_say_is_refused_with_its_place():
    with pytest.raises(
        ValueError, match=r"params\.f cannot be written as JSON: <built"
    ):
        to_json(Outer("x", params={"f": print}))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="a configuration is a dataclass, got 3"):
        to_json(3)


def test_differences_are_listed_by_setting():
    after = dataclasses.replace(
        EVERYTHING,
        agent=Inner(),
        optional=dataclasses.replace(Inner(), sizes=(), pair=(1.0, "y"), rate=3e-3),
        params={"gravity": 9.8, "shape": (1, 2), "wind": 1},
        steps=None,
    )
    assert differences(EVERYTHING, after) == [
        "agent: Other -> Inner",
        "optional.pair: (0.30000000000000004, '') -> (1.0, 'y')",
        "optional.rate: 1e-300 -> 0.003",
        "steps: 1000000000000 -> None",
        "params.max_steps_in_episode: 500 -> not set",
        "params.wind: not set -> 1",
    ]
    assert differences(Inner(), Other()) == ["configuration: Inner -> Other"]
