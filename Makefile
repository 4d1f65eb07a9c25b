.PHONY: chat test check format clean
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

chat: $(READY)
	@$(BIN)/python -m bot terminal

test: $(READY)
	@$(BIN)/python -m pytest -q $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Standard input is for the chat, standard output for its answers: the set-up touches neither.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up .venv (once; about 1 GB) …" >&2
	@$(PYTHON) -m venv .venv </dev/null >&2
	@$(BIN)/python -m pip install -c constraints.txt -e '.[dev]' </dev/null >&2
	@touch $(READY)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
