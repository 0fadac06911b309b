from hypothesis import settings
from uncompiled import sized

# A kernel's first call compiles it, for longer than any deadline.
settings.register_profile("kernels", deadline=None, max_examples=sized(100, 10))
settings.load_profile("kernels")
