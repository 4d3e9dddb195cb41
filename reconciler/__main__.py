"""`python -m reconciler` is the `reconciler` command."""

import sys

from reconciler.cli import console_script

sys.exit(console_script())
