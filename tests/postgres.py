"""Prints the address of a PostgreSQL server to test on, or says why there is none.

`make test` asks it. Exit status 0: the address is on standard output. 3: no server
answers, which only CI treats as a failure.
"""

import os
import sys

import environ
import psycopg

DEFAULT = "postgres://postgres@127.0.0.1:5432/readerstudy"


def main() -> int:
    url = os.environ.get("TEST_POSTGRES_URL", DEFAULT)
    parts = environ.Env.db_url_config(url)
    try:
        psycopg.connect(
            host=parts["HOST"],
            port=parts["PORT"] or 5432,
            user=parts["USER"],
            password=parts["PASSWORD"],
            dbname="postgres",
            connect_timeout=3,
        ).close()
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        sys.stderr.write(f"PostgreSQL half of the tests skipped: {reason}\n")
        return 3
    sys.stdout.write(url + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
