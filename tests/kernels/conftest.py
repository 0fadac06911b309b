import pytest
from hypothesis import settings
from uncompiled import UNCOMPILED, sized

# A kernel's first call compiles it, for longer than any deadline; the same examples every time.
settings.register_profile("kernels", deadline=None, derandomize=True, max_examples=sized(100, 10))
settings.load_profile("kernels")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Infinities meet on purpose: numpy says so only where a kernel runs uncompiled."""
    if UNCOMPILED:
        item.add_marker(pytest.mark.filterwarnings("ignore:invalid value encountered in:RuntimeWarning"))
