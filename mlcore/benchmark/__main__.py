"""`python -m mlcore.benchmark`: the benchmark on a machine without Django."""

import sys

from mlcore.benchmark.command_line import main

sys.exit(main())
