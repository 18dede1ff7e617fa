"""Imports that wait until they are used.

`import gymnax` imports matplotlib.pyplot and seaborn, and seaborn pandas and scipy,
for a few drawing methods. That takes longer than all of JAX, on every start.
"""

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any


class _Deferred(types.ModuleType):
    """Stands for a module until an attribute of it is asked for."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # what the import system asks of any module
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self.__name__), attribute)


@contextlib.contextmanager
def deferred_imports(*names: str) -> Iterator[None]:
    """Within the block, `import name` gives a stand-in that imports on first use.

    Only code that is imported for the first time within the block gets a stand-in;
    modules that are there already are left alone, and so is everything afterwards.

    Args:
        *names: full names of modules, for example "matplotlib.pyplot".
    """
    names = tuple(name for name in names if name not in sys.modules)
    sys.modules.update((name, _Deferred(name)) for name in names)
    try:
        yield
    finally:
        for name in names:
            if isinstance(sys.modules.get(name), _Deferred):
                del sys.modules[name]
