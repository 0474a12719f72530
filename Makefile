# Everything from a fresh machine with Python >= 3.11 and make: each target sets up what
# it needs, once. `make help` lists the targets.

PYTHON ?= python3
MINUTES ?= 10
VENV := .venv
BIN := $(VENV)/bin
# Made when the environment holds what pyproject.toml asks for.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help run test check lint types imports format clean bench bench-kafka soak \
	torture torture-kafka failover kafka kafka-stop

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Plaudit needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)

run: $(READY) ## Start Plaudit with a small demo in ./data (Ctrl-C stops it)
	@$(BIN)/plaudit run --demo

test: $(READY) ## Run all tests
	@$(BIN)/python -m pytest -q

check: $(READY) ## Everything that CI checks
	@.ci/run

lint: $(READY) ## Formatting and lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY) ## Strict types
	@$(BIN)/mypy

imports: $(READY) ## Import contracts: rules <- tables <- streams; api; plaudit
	@$(BIN)/lint-imports

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## Measure speed; results in bench/results
	@$(BIN)/python -m bench.run

bench-kafka: $(READY) ## Measure on a Kafka broker, beside other apps (needs java and mvn)
	@$(BIN)/python -m bench.kafka.run

soak: $(READY) ## Constant load for MINUTES=10: does anything grow?
	@$(BIN)/python -m bench.soak --minutes $(MINUTES)

KAFKA_DIR ?= data/kafka
KAFKA_PORT ?= 9092
kafka: $(READY) ## Start a Kafka broker on KAFKA_PORT=9092 (needs java and mvn)
	@$(BIN)/python -m docker.kafka.cli start --folder $(KAFKA_DIR) --port $(KAFKA_PORT)

kafka-stop: $(READY) ## Stop that broker; its data stays
	@$(BIN)/python -m docker.kafka.cli stop --folder $(KAFKA_DIR)

ifneq ($(wildcard tests/torture),)
KILLS ?= 25
TIMES ?= 1
TORTURE := KILLS=$(KILLS) TIMES=$(TIMES) SEED=$(SEED) $(BIN)/python -m pytest -q -s
torture: $(READY) ## Kill it KILLS=25 times under load (SEED=... repeats a run)
	@$(TORTURE) tests/torture/test_torture.py -k embedded

torture-kafka: $(READY) ## The same on Kafka and Redis, which are killed, too
	@$(TORTURE) tests/torture/test_torture.py -k scaled

failover: $(READY) ## Kill and cut off workers on Kafka TIMES=1; print how long it takes
	@$(TORTURE) tests/torture/test_failover.py
endif

clean: ## Remove the environment and caches; data stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
