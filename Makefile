# make setup   a virtual environment with everything in it
# make demo    the whole way on synthetic radiographs, then a page to rate on
# make run     serve what is in data/
# make test    all tests: SQLite, a real browser, PostgreSQL where one answers
# make check   style, types, architecture, migrations, deployment settings

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ADDRESS ?= 127.0.0.1:8000

.PHONY: setup demo run test check format
.DEFAULT_GOAL := setup

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)] and "Python 3.11 or 3.12 is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing (about 6 GB with PyTorch, a few minutes) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ml,analysis,postgres,dev]'
	@touch $@

demo: setup
	$(BIN)/python manage.py demo --address $(ADDRESS)

run: setup
	$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/gunicorn --config python:readerstudy.gunicorn_config --bind $(ADDRESS) readerstudy.wsgi

# Several processes of one thread each; how many tells tests/conftest.py.
TOGETHER := -n auto --dist worksteal
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1

test: setup
	$(BIN)/python -m tests.browser.install
	$(BIN)/python -m pytest $(TOGETHER)
	@url=$$($(BIN)/python -m tests.postgres); status=$$?; \
	if [ $$status -eq 0 ]; then \
		echo "The tests that touch the database, on PostgreSQL:"; \
		DATABASE_URL=$$url $(BIN)/python -m pytest $(TOGETHER) -m "database and not browser"; \
	elif [ $$status -ne 3 ] || [ "$$CI" = true ]; then exit 1; fi

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djade --check --target-version 5.2 $$(git ls-files --cached --others --exclude-standard '*.html')
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	HTTPS=1 ALLOWED_HOSTS=readerstudy.example $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djade --target-version 5.2 $$(git ls-files --cached --others --exclude-standard '*.html')
