"""The same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones, to look for what nobody thought of."""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
