# Thin on purpose: tools/bootstrap.py makes the environment, then runs what was asked for.
# PYTHON=python3.12 chooses another interpreter; ARGS="-k name" goes to pytest.
PYTHON ?= python3
ARGS ?=
MINUTES ?= 10
ROUNDS ?= 200
SEED ?= 1
READERS ?= 50

.PHONY: demo test test-quick lint bench bench-quick bench-web docs-tables fuzz soak load audit bundle clean-demo

demo:
	@$(PYTHON) tools/bootstrap.py demo $(ARGS)

test:
	@$(PYTHON) tools/bootstrap.py test $(ARGS)

test-quick:
	@$(PYTHON) tools/bootstrap.py test-quick $(ARGS)

bench:
	@$(PYTHON) tools/bootstrap.py bench $(ARGS)

bench-quick:
	@$(PYTHON) tools/bootstrap.py bench-quick $(ARGS)

docs-tables:
	@$(PYTHON) tools/bootstrap.py docs-tables $(ARGS)

bench-web:
	@$(PYTHON) tools/bootstrap.py bench-web $(ARGS)

fuzz:
	@$(PYTHON) tools/bootstrap.py fuzz --minutes $(MINUTES) $(ARGS)

soak:
	@$(PYTHON) tools/bootstrap.py soak --rounds $(ROUNDS) --seed $(SEED) $(ARGS)

load:
	@$(PYTHON) tools/bootstrap.py load --readers $(READERS) --minutes $(MINUTES) $(ARGS)

audit:
	@$(PYTHON) tools/bootstrap.py audit

bundle:
	@$(PYTHON) tools/bootstrap.py bundle $(ARGS)

lint:
	@$(PYTHON) tools/bootstrap.py lint

clean-demo:
	@$(PYTHON) tools/bootstrap.py clean-demo
