"""``python -m brg_prob``, the same as the command ``brg-prob``."""

import sys

from brg_prob.cli import main

if __name__ == "__main__":
    sys.exit(main())
