"""How long property tests look for a counterexample; with --hypothesis-profile=long much longer."""

from hypothesis import HealthCheck, Phase, settings

quiet = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
brief = set(Phase) - {Phase.shrink, Phase.explain}
settings.register_profile("short", max_examples=20, phases=brief, **quiet)
settings.register_profile("long", max_examples=5000, **quiet)
settings.load_profile("short")
