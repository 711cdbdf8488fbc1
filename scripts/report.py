"""``coldlm report`` for a checkout: python scripts/report.py [...]"""

import sys

from coldlm.cli import main

sys.exit(main(["report", *sys.argv[1:]]))
