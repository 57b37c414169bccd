"""The kernels' twins: the same functions in plain NumPy, one file a topic.

Each is the spec of its kernel and the oracle of its tests.  Invariant: this package exports every
public function of the files beside it, found here and listed nowhere.
"""

import importlib
import pkgutil


def _gather():
    found = {}
    for module in pkgutil.iter_modules(__path__):
        topic = importlib.import_module(f"{__name__}.{module.name}")
        for name, value in vars(topic).items():
            if not callable(value) or name.startswith("_"):
                continue
            if getattr(value, "__module__", None) != topic.__name__:
                continue                # a name that the file imported
            if name in found:
                raise RuntimeError(f"two twins are named {name!r}")
            found[name] = value
    return found


_twins = _gather()
globals().update(_twins)                # may shadow a file of the same name: the twin wins
__all__ = sorted(_twins)
