"""python -m tinymaix: the command line."""

import sys

from tinymaix.cli import main

sys.exit(main())
