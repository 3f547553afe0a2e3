# The project's commands. `make` lists them. Each calls a script, or a tool in .venv; none has logic of its own.
#
# ARGS are passed on:  make test ARGS="-k csat"     make fast ARGS=-x

.DEFAULT_GOAL := help
.PHONY: help environment test fast lint types imports docs bench endure switch-off rewrite demo demo-big

bin := .venv/bin
pytest := $(bin)/python -m pytest
ARGS :=

help: ## list these commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 14

environment: ## make or update the environment in .venv
	@tests/run --environment >/dev/null

test: ## run every check and test
	tests/run $(ARGS)

fast: environment ## lint, and test what has changed: the inner loop
	tests/fast $(ARGS)

lint: environment ## check format and lint
	$(bin)/ruff format --check
	$(bin)/ruff check

types: environment ## check types
	$(bin)/mypy

imports: environment ## check that imports follow the map in pyproject.toml
	$(bin)/lint-imports --no-logo

docs: environment ## check that documents, rules and dashboards match the code
	$(pytest) -q $(ARGS) tests/test_docs.py tests/test_rules.py tests/test_dashboards.py

bench: environment ## measure scrapes, polls and starts against the goals
	benchmarks/run $(ARGS)

endure: environment ## run the long fault campaign; --write updates docs/reliability.md
	tests/endure $(ARGS)

switch-off: environment ## switch each protection off and see a test fail
	$(bin)/python tests/switch-off $(ARGS)

rewrite: environment ## regenerate schema, references, tables and dashboards
	tests/rewrite

demo: environment ## serve a made-up company on http://127.0.0.1:9877
	$(bin)/seasalt-exporter demo $(ARGS)

demo-big: environment ## serve four made-up companies with fifty bots, and trouble
	$(bin)/seasalt-exporter demo --bots=50 --trouble $(ARGS)
