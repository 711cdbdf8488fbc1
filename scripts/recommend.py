"""``coldlm recommend`` for a checkout: python scripts/recommend.py [...]"""

import sys

from coldlm.cli import main

sys.exit(main(["recommend", *sys.argv[1:]]))
