# `make demo` and `make test` each do everything from a bare clone: environment, installation, run.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RESULTS ?= build/resilience
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-resilience lint bench bench-images bench-text bench-captions bench-text-duplicates bench-text-scale bench-scale bench-images-scale bench-encoders install clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): several GB with torch, a few minutes, once."
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m flows.demo

test: $(STAMP)
	@$(BIN)/python -m pytest -n 2 --dist worksteal

# Load, faults and fuzzing, up to 90 minutes; goes on where it was stopped.  `make test-resilience RESILIENCE="--only fuzz"` runs a part.
test-resilience: $(STAMP)
	-@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	@$(BIN)/python -m tests.resilience --results $(RESULTS) $(RESILIENCE)

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

# Benchmarks on real data; what needs DATAAUDIT_BENCH_DATA says so where it is unset.
bench: $(STAMP)
	@$(BIN)/python -m tests.benchmarks

# The image cells alone, resumable: `make bench-images BENCH="--set broad --only warp"` runs a part, `BENCH=--help` says more.
bench-images: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.images $(BENCH)

# The text cells; `make bench-text BENCH=--help` says more.
bench-text: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.text $(BENCH)

# The cells of pictures with captions; `make bench-captions BENCH=--help` says more.
bench-captions: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.captions $(BENCH)

# Edited copies among 200,000 documents, beside datasketch.
bench-text-duplicates: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.text.duplicates $(BENCH)

# Speed and memory of 10,000 to 1,000,000 documents with the hashed encoder; the documents stay in the cache.
bench-text-scale: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.text.scale $(BENCH)

# What each stage costs beside the libraries that do the same; `make bench-scale BENCH="--only tar"` runs one row.
bench-scale: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.scale $(BENCH)

# Speed and memory of 50,000 and 500,000 pictures apart from the encoder; the pictures stay in the cache.
bench-images-scale: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.images.scale $(BENCH)

# Pictures and texts a second of every encoder on one core, beside torch; `make bench-encoders BENCH="--others openvino compile"` tries other ways.
bench-encoders: $(STAMP)
	@$(BIN)/python -m tests.benchmarks.encoders $(BENCH)

clean:
	rm -rf $(VENV) demo build *.egg-info
