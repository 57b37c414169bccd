"""What pytest finds by itself where autodiff is installed: the fixture `max_saved_bytes`.

Invariant: the engine is imported by a test that uses the fixture, and by no other.
"""

import pytest


@pytest.fixture
def max_saved_bytes():
    """`ad.testing.max_saved_bytes`: `with max_saved_bytes(3_000_000): loss = step(model)`."""
    from .testing import max_saved_bytes
    return max_saved_bytes
