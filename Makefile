# `make run` and `make test` are all that a newcomer needs. What they do stands in .ci/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run test faults audit minio bench bench-transfers bench-cache bench-pages

help:
	@echo "make run    installs what is missing, builds, and starts Larder with servers of its own under ./data"
	@echo "make test   installs what the tests need, then checks formatting and lints and runs every test"
	@echo "make faults kills, cuts and starves Larder and its stores for longer than make test does (about 6 minutes)"
	@echo "make audit  looks for unused and unwelcome dependencies, and checks what is shipped in deploy/"
	@echo "make minio  builds MinIO into .cache, for LARDER_TEST_S3=minio make test (about 3 minutes)"
	@echo "make bench  measures all of these, one after the other (about 45 minutes); each alone takes ARGS=--help:"
	@echo "make bench-transfers  transfers against the store itself and nginx: STORE=minio|weed"
	@echo "make bench-cache  what looking at ten million keys costs, and a cached value (needs 3 GiB of memory)"
	@echo "make bench-pages  the health page in outages, starts, memory, the weight of pages, and the overview"

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

# One at a time, however many jobs make may run: each wants the machine for itself.
bench:
	@missed=0; for part in transfers cache pages; do $(MAKE) bench-$$part ARGS= || missed=1; done; exit $$missed

bench-cache:
	@.ci/install run
	@source .ci/common && cargo bench --locked --bench cache -- $(ARGS)

bench-pages:
	@.ci/install run
	@source .ci/common && cargo bench --locked --bench pages -- $(ARGS)

bench-transfers:
	@STORE='$(STORE)' .ci/install bench
	@source .ci/common && cargo bench --locked --bench transfers -- --store $(STORE) $(ARGS)
