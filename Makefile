# make setup   a virtual environment with everything in it
# make demo    the whole way on synthetic radiographs, then a page to rate on
# make run     serve what is in data/
# make quick   the tests that need no browser, no training and no PostgreSQL: minutes
# make test    all tests: SQLite, a real browser, PostgreSQL where one answers
# make release what proves a release and takes long, such as the wheel
# make fuzz    the property tests on EXAMPLES=1000 new examples each
# make check   style, types, architecture, migrations, deployment settings

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ADDRESS ?= 127.0.0.1:8000
EXAMPLES ?= 1000

.PHONY: setup demo run test quick release fuzz check format
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
test quick release fuzz: export OMP_NUM_THREADS = 1
test quick release fuzz: export OPENBLAS_NUM_THREADS = 1

test: setup
	-$(BIN)/python -m tests.browser.install
	$(BIN)/python -m tests.both_halves $(TOGETHER)

quick: setup
	$(BIN)/python -m pytest $(TOGETHER) -m "not (browser or slow or release)"

release: setup
	$(BIN)/python -m pytest -m release

# A failing example is told with the line that repeats it.
fuzz: export FUZZ_EXAMPLES = $(EXAMPLES)
fuzz: setup
	$(BIN)/python -m pytest $(TOGETHER) -m hypothesis --hypothesis-profile=fuzz

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
