"""Django's command line, as `manage.py` and, once installed, as `readerstudy`.

What a person can cause ends in one line, not a traceback.
"""

import os
import sys

# Their arithmetic is many small products, over which threads of BLAS wait for others:
# measured on two busy cores, 59 s for an analysis that takes 6.5 s on one thread.
ON_ONE_THREAD = ("analyze_ratings", "plan_study")


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "readerstudy.settings")
    if sys.argv[1:2] and sys.argv[1] in ON_ONE_THREAD:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError, ProgrammingError
    except ImportError:
        sys.stderr.write("Django is not installed here. Run `make setup` first.\n")
        return 1
    try:
        try:
            execute_from_command_line(sys.argv)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; nothing half-written was left behind.\n")
        return 130
    except BrokenPipeError:  # such as: manage.py help | head
        # Python flushes once more at its end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ImproperlyConfigured as error:
        sys.stderr.write(f"The settings are wrong: {error}\n")
        return 2
    except (OperationalError, ProgrammingError) as error:
        reason = str(error).partition("\n")[0]
        # A table or column that migrations make is missing on SQLite or PostgreSQL.
        wrong_sql = isinstance(error, ProgrammingError)
        on_postgres = wrong_sql and reason.endswith(" does not exist")
        if on_postgres or reason.startswith("no such "):
            reason = f"it is not ready, run `manage.py migrate` first ({reason})"
        elif wrong_sql:
            raise  # a bug, and its place is wanted
        sys.stderr.write(f"The database failed: {reason}.\n")
        return 1
    return 0
