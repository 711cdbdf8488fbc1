"""``python -m coldlm`` is ``coldlm``."""

import sys

from coldlm.cli import main

sys.exit(main())
