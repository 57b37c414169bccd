"""The line a record names is the user's, however Python got there.

The compiled core reads the interpreter's own frames, which differ between Python versions: every
kind of call is tried here.  Invariant: `record.line` is what `sys._getframe` would say.
"""

import asyncio
import ctypes
import functools
import sys
import threading

import numpy as np
import pytest

import autodiff as ad

w = ad.tensor(np.ones(3), requires_grad=True)


def here():
    return sys._getframe(1).f_lineno


def product(x=2.0):
    return x * w, here()


def in_generator():
    yield w * 2, here()


async def in_coroutine():
    await asyncio.sleep(0)
    return w * 2, here()


class Plain:
    def __init__(self):
        self.made = product()

    @property
    def value(self):
        return w * 2, here()

    def __getattr__(self, name):
        return w * 2, here()


def in_class_body():
    class Body:
        made = w * 2, here()
    return Body.made


def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append((w * 2, here())))
    thread.start()
    thread.join()
    return found[0]


def in_callback_from_c():
    found = []
    ctypes.CFUNCTYPE(None)(lambda: found.append((w * 2, here())))()
    return found[0]


def in_sort():
    found = []
    sorted([1], key=lambda x: found.append((w * x, here())) or 0)
    return found[0]


def in_finaliser():
    found = []

    class Doomed:
        def __del__(self):
            found.append((w * 2, here()))
    Doomed()
    return found[0]


def deep(n=300):
    return deep(n - 1) if n else product()


def traced():
    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: None)
    try:
        return w * 2, here()
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("call", [
    product, lambda: next(in_generator()), lambda: asyncio.run(in_coroutine()),
    lambda: next(map(lambda x: (w * x, here()), [2.0])), lambda: [(w * 2, here()) for _ in "a"][0],
    lambda: next((w * 2, here()) for _ in "a"), lambda: Plain().made, lambda: Plain().value,
    lambda: Plain().other, functools.partial(product, 3.0), in_class_body, in_thread,
    in_callback_from_c, in_sort, in_finaliser, deep, traced,
    lambda: np.frompyfunc(lambda x: (w * float(x), here()), 1, 1)(1.0)])
def test_user_line(call):
    for _ in range(100):                # the interpreter specialises calls that it has seen often
        made, line = call()
    assert made.node.line == f"{__file__}:{line}"


LIBRARY = """
class Layer:
    def __init__(self):
        self.made = w * 2
def function():
    return w * 2
def generator():
    yield w * 2
"""


@pytest.fixture(scope="module")
def library():
    """Code that counts as the library's own: compiled under a file name inside it."""
    names = {"w": w}
    exec(compile(LIBRARY, ad.__file__, "exec"), names)
    return names


def test_library_code_is_skipped(library):
    Layer, function, generator = (library[n] for n in ("Layer", "function", "generator"))

    def loop():
        for made in generator():
            return made, here() - 1

    for _ in range(100):
        found = [(Layer().made, here()), (function(), here()), (next(generator()), here()), loop()]
    assert [made.node.line for made, _ in found] == [f"{__file__}:{line}" for _, line in found]


def test_more_code_objects_than_are_remembered():
    for i in range(5000):
        names = {"w": w}
        exec(compile("\n\nmade = w * 2", f"user{i}.py", "exec"), names)
        assert names["made"].node.line == f"user{i}.py:3"
