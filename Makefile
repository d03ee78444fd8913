# Two commands do everything on a fresh machine with Python 3.11 or newer and make:
#   make demo   sets up, simulates, trains, compares, and ends in a report to open
#   make test   sets up and runs the tests
# make docs runs the code of the tutorials and builds the documentation into site/.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS := $(VENV)/.docs

.PHONY: demo test lint viewer docs release clean

demo: $(READY)
	$(BIN)/darklung run examples/quick.yaml --out runs/quick

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report=
	@echo "Least covered modules (statements, missed, covered), and all:"
	@$(BIN)/coverage report --sort=cover | awk '/^src\// && ++shown <= 10'
	@$(BIN)/coverage report | grep TOTAL

# Optional, needs npm: reports then have a volume viewer that works without the net.
viewer:
	$(PYTHON) hatch_build.py

# Says what is missing for a release, or what would be tagged: make release VERSION=0.2.0 (and TAG=--tag to tag it)
release:
	$(PYTHON) tools/release.py $(VERSION) $(TAG)

# The blocks run on small data; what they print is held to the pages. NO_MKDOCS_2_WARNING: an advertisement, no warning of the build.
docs: $(DOCS)
	$(BIN)/python docs/_site/blocks.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "Open site/index.html"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" lint-imports

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  "darklung needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.11 demo")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Setting up in $(VENV) (a few minutes, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage
