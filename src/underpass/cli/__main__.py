"""`python -m underpass.cli`."""

import sys

from underpass.cli import main

sys.exit(main())
