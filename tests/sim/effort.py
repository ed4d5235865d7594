"""How long property tests look for a counterexample: `EXAMPLES=5000 pytest tests/sim` looks for long."""

import os

from hypothesis import HealthCheck, Phase, settings

EXAMPLES = int(os.environ.get("EXAMPLES", "20"))
BRIEF = set(Phase) - {Phase.shrink, Phase.explain}

effort = settings(
    max_examples=EXAMPLES,
    phases=BRIEF if EXAMPLES <= 100 else set(Phase),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
