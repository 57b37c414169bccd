"""What pytest finds by itself where autodiff is installed: the fixture `max_saved_bytes`.

A module beside the packages, like the command: pytest imports it in every run, and the engine
should be imported by a test that uses the fixture, and by no other.
"""

import pytest


@pytest.fixture
def max_saved_bytes():
    """`ad.testing.max_saved_bytes`: `with max_saved_bytes(3_000_000): loss = step(model)`."""
    from autodiff.testing import max_saved_bytes
    return max_saved_bytes
