#!/usr/bin/env python3
"""Django's command line. Ctrl-C ends any command in one line, without a traceback."""

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "readerstudy.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.stderr.write("Django is not installed here. Run `make setup` first.\n")
        return 1
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; nothing half-written was left behind.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
