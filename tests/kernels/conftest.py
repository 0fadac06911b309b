from hypothesis import settings

# A kernel's first call compiles it, for longer than any deadline.
settings.register_profile("kernels", deadline=None)
settings.load_profile("kernels")
