"""The user's model by name: `module:build` or `path/to/file.py:build`.

Invariant: the folder that the command is started from comes first on the path, whatever folder the
library lies in.
"""

import importlib
import importlib.util
import inspect
import os
import sys

from .errors import BuildError


def load(target):
    """The function that `target` names; BuildError says what is missing."""
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise BuildError(f"{target!r}: expected module:function or file.py:function, for instance "
                         "my_model:build")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _file(place) if place.endswith(".py") else _module(place)
    build = getattr(module, name, None)
    if not callable(build):
        known = [n for n, f in vars(module).items() if inspect.isfunction(f)
                 and f.__module__ == module.__name__ and not n.startswith("_")]
        raise BuildError(f"{place} has no function {name!r}; it has: {', '.join(known) or 'none'}")
    return build


def arguments(build, **given):
    """The positional arguments of `cost` and the keyword ones that `build(**given)` returns."""
    try:
        found = build(**given)
    except Exception as error:
        raise BuildError(f"{_named(build)} failed: {type(error).__name__}: {error}") from error
    if isinstance(found, dict):
        missing = {"model", "batch", "loss"} - set(found)
        unknown = set(found) - {"model", "batch", "loss", "optimizer", "steps", "name"}
        if missing or unknown:
            raise BuildError(f"{_named(build)} must return a dict with model, batch, loss and "
                             f"perhaps optimizer, steps, name; missing {sorted(missing)}, unknown "
                             f"{sorted(unknown)}")
        rest = {k: v for k, v in found.items() if k in ("steps", "name")}
        return (found["model"], found["batch"], found["loss"], found.get("optimizer")), rest
    if not isinstance(found, (tuple, list)) or len(found) not in (3, 4):
        got = (f"{type(found).__name__} of {len(found)}" if isinstance(found, (tuple, list))
               else type(found).__name__)
        raise BuildError(f"{_named(build)} must return (model, batch, loss) or (model, batch, "
                         f"loss, optimizer), batch being (inputs, target); got {got}")
    return (*found, *[None] * (4 - len(found))), {}


def takes(build, name):
    """Can `build` be called with the keyword `name`?"""
    try:
        inspect.signature(build).bind(**{name: 1})
    except TypeError:
        return False
    return True


def _named(build):
    return f"{getattr(build, '__name__', type(build).__name__)}()"


def _module(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise BuildError(f"no module {error.name!r} in {os.getcwd()} or on the path; give "
                             "module:function or file.py:function") from None
        raise BuildError(f"{name} cannot be imported: {error}") from error
    except Exception as error:
        raise BuildError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _file(path):
    if not os.path.isfile(path):
        raise BuildError(f"no file {path}")
    folder, name = os.path.split(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module         # classes of it can then be pickled and copied
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise BuildError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
