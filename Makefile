# Every check of this project, each under one name: people, pre-commit and .ci/run call the same targets.
#
#   make check      what a change has to pass: style, types, docs, tests (minutes)
#   make fix        put the style right and write the generated pages anew
#   make all        what .ci/run runs besides (half an hour and more)

VENV ?= .venv
PYTHON ?= $(VENV)/bin/python
PYTEST = $(PYTHON) -m pytest -q

.PHONY: check fix all style types docs test dataflow runners packaging minimum servers rest exhaustive

check: style types docs test

all: check dataflow runners packaging minimum servers rest

# pip takes minutes to fill an environment, uv seconds.
FILL = $(VENV)/bin/uv pip install -q --python

$(VENV)/bin/ruff: pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q uv
	$(FILL) $(VENV)/bin/python -e ".[dev]"
	touch $@

# Ruff: what it finds, and the layout.
style: $(VENV)/bin/ruff
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

# mypy, strict.
types: $(VENV)/bin/ruff
	$(PYTHON) -m mypy

# What is generated from the code, or checked against it, says what the code says.
docs: $(VENV)/bin/ruff
	$(PYTEST) -n 0 tests/test_layout.py::test_the_page_shows_the_house_as_it_is tests/test_contributing.py \
	  tests/test_readme_commands.py tests/transforms/test_expressions_page.py \
	  tests/config/test_schema.py::test_the_shipped_schema_is_up_to_date tests/test_templates.py::test_the_reference_is_up_to_date

# The tests of every day.
test: $(VENV)/bin/ruff
	$(PYTEST)

fix: $(VENV)/bin/ruff
	$(PYTHON) -m ruff check -q --fix
	$(PYTHON) -m ruff format -q
	$(PYTHON) -m exporters_beam schema > schema.new && mv schema.new exporters_beam/schema.json
	$(PYTHON) -m exporters_beam modules --markdown > reference.new && mv reference.new docs/reference.md
	$(PYTHON) tests/architecture.py --write

# Dataflow, its templates and Beam YAML, with a stand-in for the service.
dataflow: $(VENV)/bin/ruff
	python3 -m venv $(VENV)-dataflow
	$(FILL) $(VENV)-dataflow/bin/python -e ".[test,dataflow,yaml]" gcp-storage-emulator
	$(VENV)-dataflow/bin/python -m pytest -q -n 0 -p no:cacheprovider -m dataflow tests/dataflow
	rm -rf $(VENV)-dataflow

# Flink and Prism: the same configs on every runner, and machines that die.
runners: $(VENV)/bin/ruff
	EXPORTERS_BEAM_KILLS=1 $(PYTEST) -n 0 -p no:cacheprovider tests/matrix tests/flink -m "(flink or prism) and not exhaustive"

# Wheel, sdist and editable install in fresh environments.
packaging: $(VENV)/bin/ruff
	$(PYTEST) -n 0 -m packaging

# The lowest versions that pyproject.toml allows: what each package is used for, and the contract of every component.
minimum: $(VENV)/bin/ruff
	python3 -m venv $(VENV)-minimum
	$(FILL) $(VENV)-minimum/bin/python -e ".[test]" -c tests/minimum-versions.txt
	$(VENV)-minimum/bin/python -m pytest -q -p no:cacheprovider tests/contract tests/formats/test_format_*.py \
	  tests/formats/test_schemas.py tests/compressions/test_compressions.py tests/config/test_spec.py tests/config/test_schema.py \
	  tests/transforms/test_filters.py tests/transforms/test_jq.py tests/test_web.py tests/engine/test_graph.py
	rm -rf $(VENV)-minimum

# Storages and databases against real servers; .ci/servers gets them.
servers: $(VENV)/bin/ruff
	$(PYTEST) -n 3 -m "servers and not exhaustive" tests/storages tests/systems

# What a clone of the README leaves out: what needs other packages, the public suites, the slow half.
rest: $(VENV)/bin/ruff
	$(PYTEST) tests/storages tests/systems tests/reporting/test_notify.py tests/components/test_secret_services.py
	$(PYTEST) -m "(slow or shared) and not exhaustive and not packaging and not dataflow and not flink and not prism and not servers"

# Every case of tests of which CI tries a sample; on Flink and Prism, too.
exhaustive: $(VENV)/bin/ruff
	$(PYTEST) -m "exhaustive and not flink and not prism"
	EXPORTERS_BEAM_KILLS=1 $(PYTEST) -n 0 -p no:cacheprovider tests/matrix -m "exhaustive and (flink or prism)"
