"""A bound on saved bytes: counted by hand, its failure says who saved what, where."""

import pytest

import autodiff as ad
from autodiff.testing import max_saved_bytes as bound

pytest_plugins = "pytester"


def tanhs(x, n):
    for _ in range(n):
        x = ad.tanh(x)
    return x


@pytest.fixture
def x():
    return ad.tensor([1.0] * 256, requires_grad=True)


def test_at_the_bound_and_one_byte_below(x):
    with bound(3 * 1024) as m:
        y = tanhs(x, 3)                             # each keeps its output, 1024 bytes
    assert m.peak_bytes == 3 * 1024
    del y
    with pytest.raises(ad.errors.SavedBytesError) as error, bound(3 * 1024 - 1):
        tanhs(x, 3)
    message = str(error.value)
    assert "3,071 bytes" in message and "got 3,072 (1 too many)" in message
    assert message.count("tanh #") == 3 and "test_max_saved_bytes.py:" in message


def test_the_peak_counts_not_the_end(x):
    with pytest.raises(AssertionError), bound(2 * 1024):
        ad.sum(tanhs(x, 3)).backward()              # freed again by backward


def test_what_was_saved_before_does_not_count(x):
    before = tanhs(x, 5)
    with bound(1024):
        after = tanhs(before, 1)
    assert after.shape == before.shape


def test_without_gradients_nothing_is_kept(x):
    with bound(0), ad.no_grad():
        tanhs(x, 10)


def test_checkpoint_keeps_less(x):
    with bound(1024):
        y = ad.checkpoint(lambda x: tanhs(x, 8), x)
    assert y.shape == x.shape


def test_decorator(x):
    @bound(1024)
    def step(n):
        return tanhs(x, n)
    step(1)
    step(1)
    with pytest.raises(ad.errors.SavedBytesError):
        step(2)


def test_an_error_inside_comes_through(x):
    with pytest.raises(ZeroDivisionError), bound(0):
        tanhs(x, 1)
        raise ZeroDivisionError


@pytest.mark.parametrize("limit", [-1, 1.5, True, "1 MB", None])
def test_a_limit_is_a_number_of_bytes(limit):
    with pytest.raises(ad.errors.ArgumentError, match="number of bytes"):
        bound(limit)


def test_fixture(pytester):
    pytester.makepyfile("""
        import autodiff as ad
        def test_it(max_saved_bytes):
            with max_saved_bytes(0):
                ad.tanh(ad.tensor([1.0, 2.0], requires_grad=True))
    """)
    result = pytester.runpytest("-p", "no:autodiff", "-p", "autodiff_pytest")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*SavedBytesError*expected at most 0 bytes*"])
