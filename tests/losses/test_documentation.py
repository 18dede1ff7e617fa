"""What a public function must say of itself, and that its examples run."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

from jaxrl_dist import losses

FUNCTIONS = [
    getattr(losses, name)
    for name in losses.__all__
    if inspect.isfunction(getattr(losses, name))
]
MODULES = [
    importlib.import_module(f"jaxrl_dist.losses.{module.name}")
    for module in pkgutil.iter_modules(losses.__path__)
]


def sections(function):
    """The parts of a docstring by their headings; what stands above them by ""."""
    parts = re.split(r"^(\w+):$", inspect.getdoc(function) or "", flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_arguments_results_errors_source_and_gradients_are_stated(function):
    parts = sections(function)
    assert {"Args", "Returns", "Raises", "Source"} <= set(parts)
    assert "ValueError" in parts["Raises"]
    assert re.search(r"\d{4}", parts["Source"]), "a source has a year"
    assert "gradient" in " ".join(parts.values()).lower()
    for name, parameter in inspect.signature(function).parameters.items():
        stated = re.search(rf"^    {name}: (.*)", parts["Args"], flags=re.MULTILINE)
        assert stated, f"{name} is not described"
        if parameter.annotation == "jax.Array" or "Array" in str(parameter.annotation):
            assert re.search(r"\[.*\]", stated[1]), f"the shape of {name} is not stated"


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_arrays_are_named_by_the_caller(function):
    arrays = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if "Array" in str(parameter.annotation)
    ]
    if len(arrays) > 1:
        assert {each.kind for each in arrays} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_examples_run(module):
    assert doctest.testmod(module).failed == 0


def test_there_is_an_example_in_each_family():
    with_examples = {m.__name__.split(".")[-1] for m in MODULES if ">>>" in doc_of(m)}
    families = {"returns", "vtrace", "retrace", "td", "categorical", "quantile"}
    families |= {"policy", "continuous", "rescaling", "priorities"}
    assert families <= with_examples


def doc_of(module):
    return inspect.getsource(module)
