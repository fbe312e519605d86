# `make run` and `make test` are all that most people need. The scripts are in .ci/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run test faults audit minio bench bench-transfers bench-cache bench-pages

help:
	@echo "make run    install what is missing, build, and start Larder with private servers under ./data"
	@echo "make test   install the test tools, check formatting and lints, run all tests"
	@echo "make faults run the long fault tests: kills, interrupted requests, failing stores (about 6 minutes)"
	@echo "make audit  check dependencies, licenses and advisories, and validate the files in deploy/"
	@echo "make minio  build MinIO into .cache, for LARDER_TEST_S3=minio make test (about 3 minutes)"
	@echo "make bench  run all benchmarks below (about 45 minutes); each accepts ARGS=--help:"
	@echo "make bench-transfers  transfers compared with the store itself and nginx: STORE=minio|weed"
	@echo "make bench-cache  the cost of browsing ten million keys and of a cached value (needs 3 GiB of memory)"
	@echo "make bench-pages  the health page during outages, startup, memory, page weight, the overview"

run:
	@.ci/install run
	@source .ci/common && cargo run --locked --bin larder -- serve --embedded

test:
	@.ci/test

faults:
	@.ci/install test
	@source .ci/common && LARDER_FAULTS=long cargo test --locked --test faults -- --nocapture $(ARGS)

audit:
	@.ci/audit

minio:
	@.ci/install minio

STORE ?= minio

# One at a time, even with make -j: each benchmark needs the whole machine.
bench:
	@failed=0; for part in transfers cache pages; do $(MAKE) bench-$$part ARGS= || failed=1; done; exit $$failed

bench-cache:
	@.ci/install run
	@source .ci/common && cargo bench --locked --bench cache -- $(ARGS)

bench-pages:
	@.ci/install run
	@source .ci/common && cargo bench --locked --bench pages -- $(ARGS)

bench-transfers:
	@STORE='$(STORE)' .ci/install bench
	@source .ci/common && cargo bench --locked --bench transfers -- --store $(STORE) $(ARGS)
