# Each target makes its own virtual environment where there is none; Python and pip are enough.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
CONSTRAINTS ?= constraints.txt
ARGS ?=

BIN := $(VENV)/bin
# Tests run side by side, so that each keeps to one thread.
RUN_TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest test-gpu test-mlnet test-spark test-h2o test-mlflow test-sql fuzz check format docs benchmarks study study-small clean
# A stamp stands for a group of extras that is installed; a failed installation leaves none.
.DELETE_ON_ERROR:
.PRECIOUS: $(VENV)/.installed-%

help:  ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*  ## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | column -t -s '|' \
	  2>/dev/null || sed -n 's/^\([a-z0-9-]*\):.*  ## \(.*\)/  make \1: \2/p' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed-demo  ## Run the experiment of the paper on real data
	$(BIN)/python -m pipegrad demo $(ARGS)

test: $(VENV)/.installed-test  ## Run the tests, the examples in docstrings and the code in the documents
	$(RUN_TESTS) -m "not slow" $(ARGS)

test-oldest:  ## Run the tests with the oldest supported scikit-learn
	@$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

# The build of ML.NET inside of NimbusML's last wheel, without .NET: see tests/mlnet_runtime.py.
test-mlnet: $(VENV)/.installed-test  ## Let real ML.NET score what pipegrad wrote (Linux on x86-64; 850 MB of packages)
	$(BIN)/python tests/mlnet_runtime.py install .venv-mlnet
	MLNET=.venv-mlnet OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ARGS) tests/sources/mlnet/check_mlnet.py

test-gpu: $(VENV)/.installed-test  ## Run the tests that need a GPU of CUDA (with a build of torch for it)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m gpu $(ARGS) tests

# pyspark in an environment of its own; it needs Java 17 or newer.
test-spark: $(VENV)/.installed-test  ## Let real Spark score what pipegrad wrote (Java 17; 450 MB of packages)
	$(BIN)/python tests/spark_runtime.py install .venv-spark
	SPARK=.venv-spark OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ARGS) tests/sources/spark/check_spark.py

# h2o, a build that exports MOJOs as open source, in an environment of its own; it needs Java 8 to 17.
test-h2o: $(VENV)/.installed-test  ## Let real H2O score what pipegrad wrote (Java 17; 800 MB of packages)
	$(BIN)/python tests/h2o_runtime.py install .venv-h2o
	H2O=.venv-h2o OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ARGS) tests/sources/h2o/check_h2o.py

# Too large for all tests: 115 MB.
test-mlflow: $(VENV)/.installed-test $(VENV)/.installed-mlflow  ## Let real MLflow keep models and runs, in files and in SQLite
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) alembic sqlalchemy
	$(RUN_TESTS) $(ARGS) tests/with_mlflow src/pipegrad/mlflow tests/test_docs.py -k "mlflow or deploy"

# orbital requires an older ONNX than the other tests.
test-sql:  ## Let real DuckDB answer with the queries that orbital makes of tuned pipelines
	@$(MAKE) .venv-sql/.installed-pandas VENV=.venv-sql
	grep -v '^onnx' $(CONSTRAINTS) > .venv-sql/constraints.txt
	.venv-sql/bin/python -m pip install --quiet -c .venv-sql/constraints.txt duckdb orbital pytest
	.venv-sql/bin/python -m pytest $(ARGS) tests/test_sql.py

# SECONDS for all formats together; ARGS="xgboost.ubj --count 100000 --seed 3" for one of them.
SECONDS ?= 600
fuzz: $(VENV)/.installed-test  ## Read mutants of model files for SECONDS; each must be read right or refused clearly
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) $(ARGS)

check: $(VENV)/.installed-dev  ## Run every check: style, types, import layers, all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(RUN_TESTS) $(ARGS)

format: $(VENV)/.installed-dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-test  ## Regenerate the figures and the operator table of the documentation
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/make_table.py

benchmarks: $(VENV)/.installed-test  ## Measure speed and memory
	@set -e; for script in benchmarks/[a-z]*.py; do \
	  echo "== $$script"; $(BIN)/python $$script; \
	done

# ARGS="--jobs 4" runs more side by side; calling it again goes on.
STUDY = @test -n "$(DATA)" || { echo "make $@ DATA=FOLDER: the data of docs/data.md" >&2; exit 1; }; \
  $(BIN)/python benchmarks/accuracy/study.py

study: $(VENV)/.installed-test  ## Measure what fine-tuning gains on the data in DATA (4 hours), and write the page
	$(STUDY) --data $(DATA) --out study-output $(ARGS)
	$(BIN)/python benchmarks/accuracy/study.py --out study-output --report docs/accuracy-study.md

study-small: $(VENV)/.installed-test  ## The same with fewer data sets, pipelines and splits (10 minutes)
	$(STUDY) --data $(DATA) --out study-output/small --small $(ARGS)
	$(BIN)/python benchmarks/accuracy/study.py --out study-output/small --report study-output/small/study.md

clean:  ## Remove the virtual environment and build products
	rm -rf $(VENV) .venv-oldest .venv-mlnet .venv-spark .venv-h2o .venv-sql build dist demo-output study-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Some systems ship Python without what fills a new environment with pip; the pip outside does it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; make PYTHON=python3.x names another one.")'
	$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; }

$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing pipegrad[$*] into $(VENV)"
	@$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[$*]"
	@touch $@
