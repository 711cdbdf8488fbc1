"""``coldlm run`` for a checkout: python scripts/run.py [...]"""

import sys

from coldlm.cli import main

sys.exit(main(["run", *sys.argv[1:]]))
