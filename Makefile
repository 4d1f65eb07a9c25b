.PHONY: chat dev test test-avx2 test-gpu lint check oracle bench bench-quick bench-gpu measure-templates soak format clean
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

chat: $(READY)
	@$(BIN)/python -m bot terminal

# The bot on a stand-in for Discord, with a text client to talk to it: no account, no network. ARGS="--trace" shows what
# happens to each request.
dev: $(READY)
	@$(BIN)/python -m tests.dev $(ARGS)

# On all processors, a file of tests at a time; the long ones begin first (tests/conftest.py).
RUN_TESTS = $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	-m "not oracle and not real_model"

test: $(READY)
	@$(RUN_TESTS) $(ARGS)

# The same tests with torch's kernels for AVX2 and the model's step compiled for it, as on a processor without AVX-512.
# What is skipped is named with its reason; a machine that can't do this fails.
test-avx2: $(READY)
	@ATEN_CPU_CAPABILITY=avx2 COMPILE_FOR=avx2 $(RUN_TESTS) -rs $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# The tests on the real model smollm2-135m (fetched where it is not here yet) and against lm-evaluation-harness.
oracle: $(READY)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,oracle]' </dev/null >&2
	@FEWSHOT_TEST_MODEL="$$($(BIN)/python -m bot model pull smollm2-135m)" && export FEWSHOT_TEST_MODEL && \
		$(BIN)/python -m pytest -q -m "oracle or real_model" $(ARGS)

# The tests that need a CUDA device.
test-gpu: $(READY)
	@$(BIN)/python -m pytest -q -m gpu $(ARGS)

# Speed beside transformers, and beside CTranslate2 and llama.cpp where .venv/bin/python -m pip install -c constraints.txt
# -e '.[bench]' put them (llama.cpp is compiled for this machine). BENCH_JSON names a file for the rows.
bench: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks $(ARGS)

# One short round of every case, to show that all of it works.
bench-quick: $(READY)
	@$(BIN)/python -m benchmarks --quick $(ARGS)

bench-gpu: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks --device cuda $(ARGS)

# How often the shipped classify templates are right on their held-out rows, by each way of asking smollm2-135m.
measure-templates: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks.templates $(ARGS)

# Long runs: make soak PART=discord (under load and faults; ARGS may name parts: disconnects restarts sends interactions),
# make soak PART=parsing (a million texts through the parsers).
PART ?= discord
soak: $(READY)
	@$(BIN)/python -m tests.soak $(PART) $(ARGS)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Standard input is for the chat and standard output for its answers: the set-up touches neither.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up .venv (once; takes about 2 GB of disk) …" >&2
	@$(PYTHON) -m venv .venv </dev/null >&2
	@$(BIN)/python -m pip install -c constraints.txt -e '.[dev]' </dev/null >&2
	@touch $(READY)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
