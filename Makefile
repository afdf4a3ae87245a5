# Two commands are all that is needed:   make lesson   and   make test
# Both set up a virtual environment in .venv first; later calls skip that in no time.

PYTHON ?= python3
LESSON ?= 02
FLAGS ?=
BACKEND ?=
python = .venv/bin/python
# the tests run in a process for each core; for a debugger: make test FLAGS='-n 0 --pdb'
side_by_side = -n auto --maxprocesses 4 --dist worksteal
ready = .venv/.ready
notebook_ready = .venv/.notebook-ready

notebooks = $(patsubst lessons/%.py,runs/notebooks/%.ipynb,$(wildcard lessons/[0-9]*.py))

.PHONY: help lesson notebooks test test-slow test-versions test-lowest test-newest lint bench clean

help:
	@echo "make lesson                    run the lesson on vanishing gradients (pictures go to runs/)"
	@echo "make lesson LESSON=3           run another lesson of the folder lessons/"
	@echo "make lesson FLAGS='--data cifar10 --seeds 3'    hand flags to it; --help lists them"
	@echo "make notebooks                 write every lesson as a Jupyter notebook, to runs/notebooks/"
	@echo "make test                      run the tests, on NumPy and on a stand-in for CuPy"
	@echo "make test BACKEND=cupy         the same on a GPU; what is missing for it is said in one sentence"
	@echo "make test-slow                 run the slow tests (whole lessons, trained networks)"
	@echo "make test-versions             run the tests on the lowest versions of setup.cfg, then on the newest of everything"
	@echo "make lint                      check the style of the code"
	@echo "make bench                     time a training step against PyTorch and DeZero (FLAGS=--quick is faster)"
	@echo "make bench BACKEND=cupy        on a GPU: parity, times beside PyTorch and NumPy, shares of what the card can do"
	@echo "make clean                     delete the environment and everything made"

lesson: $(ready)
	@.venv/bin/minidl lesson $(LESSON) $(FLAGS)

notebooks: $(notebooks)

runs/notebooks/%.ipynb: lessons/%.py | $(notebook_ready)
	@.venv/bin/minidl lesson $(firstword $(subst _, ,$*)) --notebook $@

test: $(ready)
	$(python) -m pytest -q -rs -m "not slow" $(if $(BACKEND),--backend $(BACKEND),$(side_by_side)) $(FLAGS)

test-slow: $(ready) $(notebook_ready)
	$(python) -m pytest -q -m slow $(side_by_side) $(FLAGS)

# In environments of their own. A line `numpy>=2.0` of setup.cfg becomes `numpy==2.0`.
test-versions: test-lowest test-newest
test-lowest: pythons = 3.10 3.11 3.12
test-lowest: constraints = sed -n 's/^ *\([a-z-]*\)>=\([0-9.]*\)$$/\1==\2/p' setup.cfg
test-newest: pythons = 3.14 3.13 3.12 3.11
test-newest: constraints = true
test-lowest test-newest: test-%:
	@found=$$(.ci/python $(pythons)) && $$found -m venv --clear .venv-$*
	@$(constraints) > .venv-$*/constraints.txt
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-$*/constraints.txt --editable '.[dev]'
	.venv-$*/bin/python -m minidl doctor
	.venv-$*/bin/python -m pytest -q -rs -m "not slow" $(side_by_side) $(FLAGS)

lint: $(ready)
	$(python) -m ruff check .

bench: $(ready)
	$(python) -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(python) benchmarks/$(if $(filter cupy,$(BACKEND)),gpu,training_step).py $(FLAGS)

clean:
	rm -rf .venv .venv-lowest .venv-newest runs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last, so it proves a complete environment. Where it is missing, an interrupted set-up is thrown
# away and made anew; where setup.cfg is newer, pip brings the environment up to date.
$(ready): setup.cfg pyproject.toml
	@if [ -f $(ready) ]; then rm $(ready); else echo "Setting up .venv (once, about a minute) ..."; $(PYTHON) -m venv --clear .venv; fi
	@$(python) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(ready)

# What writes notebooks and runs them in the slow tests, and Dask for these, is large: `make lesson` and `make test` do
# without those 250 MB.
$(notebook_ready): $(ready)
	@$(python) -m pip install --quiet --disable-pip-version-check --editable '.[notebook,dask]'
	@touch $(notebook_ready)
