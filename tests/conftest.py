"""Settings that all tests share: hypothesis without deadlines, and the same examples every run.

The suite runs on either core: AUTODIFF_CORE=plain in the environment chooses the one in Python.
"""

import sys
import threading

import pytest

try:
    from hypothesis import HealthCheck, settings
except ImportError:                     # only the property tests need it
    pass
else:
    settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=100,
                              suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("repeatable")


@pytest.fixture
def in_threads():
    """in_threads(work, n=4): work(0) ... work(n - 1) at once, in threads that take turns often; an
    error of one is raised."""
    def run(work, n=4):
        errors = []

        def caught(k):
            try:
                work(k)
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=caught, args=(k,)) for k in range(n)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        finally:
            sys.setswitchinterval(interval)
        if errors:
            raise errors[0]
    return run


@pytest.fixture(autouse=True)
def default_dtype():
    """A test that sets the default dtype leaves it as it was."""
    from autodiff import dtypes
    before = dtypes.get_default_dtype()
    yield
    dtypes.set_default_dtype(before)
