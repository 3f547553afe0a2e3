from hypothesis import settings
from support.fuzz import LONG

settings.register_profile(LONG)
