#!/usr/bin/env python3
"""Django's command line in a source tree."""

import sys

from readerstudy.command_line import main

if __name__ == "__main__":
    sys.exit(main())
