# make run: a first result on a bare machine. make test: the fast suite. Both do all of their own set-up.
# make test-all: fast and slow. make nightly: all of that and the nightly tier. See tests/README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
, := ,

.PHONY: run test test-slow test-all test-again nightly trackers data lint setup browser latex clean

run: $(STAMP)
	$(BIN)/python -m prepare
	$(BIN)/python -m search

# API keys are unset, so that no test can spend money. WORKERS processes, each on a core of its own. Bytecode is kept:
# to rewrite the asserts of all tests and to compile our modules takes each process seconds otherwise.
WORKERS ?= 2
UNSET := -u ANTHROPIC_API_KEY -u ANTHROPIC_AUTH_TOKEN -u OPENAI_API_KEY -u PYTHONDONTWRITEBYTECODE
PYTEST = env $(UNSET) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

test: $(DEV) data
	$(PYTEST) -m "not slow and not nightly"

test-slow: $(DEV) data browser latex
	$(PYTEST) -m "slow and not nightly"

test-all: $(DEV) data browser latex
	$(PYTEST) -m "not nightly"

nightly: $(DEV) data browser latex
	$(PYTEST)

# What failed the last time, alone.
test-again:
	$(PYTEST) -n 0 --last-failed --last-failed-no-failures none

# The libraries of the experiment trackers and the tests that need them. They are in an environment of their own, which sees the packages
# of $(VENV), too: 250 MB more, and Trackio needs an older pillow.
TRACKERS := $(VENV)/trackers
purelib = $$($(1) -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
trackers: $(DEV)
	@$(BIN)/python -m venv $(TRACKERS)
	@echo "$(call purelib,$(BIN)/python)" > $(call purelib,$(TRACKERS)/bin/python)/beside.pth
	@$(TRACKERS)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/trackers.txt
	env $(UNSET) $(TRACKERS)/bin/python -m pytest -n 0 tests/search/test_trackers.py

data: $(DEV)
	@$(BIN)/python -m prepare

# Pages are tested in a real browser. Where none can be installed, those tests are skipped and say so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && echo 'Installing chromium for the tests of pages ...' && apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null 2>&1; } \
	  || echo 'No chromium: the tests of pages will be skipped.'

# A PDF is made of a paper. Where pdflatex cannot be installed, that test is skipped and says so.
latex:
	@command -v pdflatex >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && echo 'Installing pdflatex for the test of papers ...' && apt-get -qq update && apt-get -qq install -y --no-install-recommends texlive-latex-base >/dev/null 2>&1; } \
	  || echo 'No pdflatex: the test of the PDF of a paper will be skipped.'

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/mypy

setup: $(DEV)

# pip, not uv: the pinned versions of constraints.txt must also find a locally provided build of torch.
define install
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Treewright needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11.")'
	@echo 'Installing into $(VENV) ($(2)) ...'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(1)]'
endef

$(STAMP): pyproject.toml constraints.txt
	$(call install,web$(,)plots$(,)openai$(,)gpt,a minute or two; torch is most of it)
	@touch $@

$(DEV): pyproject.toml constraints.txt
	$(call install,dev,a minute or three; torch and Ray are most of it)
	@touch $(STAMP) $@

clean:
	rm -rf $(VENV) build *.egg-info
