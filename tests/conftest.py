"""Settings that all tests share: hypothesis without deadlines, and the same examples every run.

The suite runs on either core: AUTODIFF_CORE=plain in the environment chooses the one in Python.
"""

import pytest

try:
    from hypothesis import HealthCheck, settings
except ImportError:                     # only the property tests need it
    pass
else:
    settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=100,
                              suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def default_dtype():
    """A test that sets the default dtype leaves it as it was."""
    from autodiff import dtypes
    before = dtypes.get_default_dtype()
    yield
    dtypes.set_default_dtype(before)
