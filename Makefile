# ThôngSuốt: the commands. `make` lists them. Needs only Python 3.11+ with venv, make and a package index.
# Another Python: make test PYTHON=/path/to/python3.12

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
STAMP := $(VENV)/.made
BIN := $(VENV)/bin
PYTHON ?=

.PHONY: help demo test test-integration check torture torture-full bench bench-peak up down logs lock clean

help: ## Danh sách lệnh này / this list
	@printf 'ThôngSuốt — các lệnh / the commands:\n\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '%-24s %s\n' "$$name" "$$text"; done
	@printf '\nLần đầu mỗi lệnh tự tạo %s / the first one makes %s\n' '$(VENV)' '$(VENV)'

demo: $(STAMP) ## Một ngày hồ sơ của tỉnh, chạy thử trọn vẹn / a province's day, all the way (ARGS="--exit --json")
	@$(BIN)/thongsuot demo $(ARGS)

test: $(STAMP) ## Mọi phép thử chỉ cần Python / every test that needs only Python (ARGS="-k codec")
	@$(BIN)/pytest -q --numprocesses=2 --dist=loadfile $(ARGS)

test-integration: $(STAMP) ## Thử với Kafka, PostgreSQL, MariaDB, registry thật / against real servers
	@$(BIN)/pytest -q -m integration $(ARGS)

check: $(STAMP) ## Định dạng, lỗi, kiểu, luật import, luật cảnh báo / format, lint, types, import and alert rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@{ command -v promtool && command -v amtool; } >/dev/null || { \
		echo 'make check cần promtool và amtool / needs promtool and amtool. Debian, Ubuntu:'; \
		echo '  apt-get install prometheus prometheus-alertmanager'; exit 1; }
	promtool check rules docker/prometheus/rules.yml
	promtool test rules docker/prometheus/rules_test.yml
	amtool check-config docker/alertmanager/alertmanager.yml

torture: $(STAMP) ## Giết, làm đóng băng, đánh lừa trục, rồi so với dữ liệu của Cổng / kill, freeze, deceive the hub, judge by the far side (ARGS="--row kill --json")
	@$(BIN)/python -m tests.torture $(ARGS)

torture-full: $(STAMP) ## Như trên với 100.000 sự kiện, dừng rồi chạy tiếp được / the same with 100,000 events, resumable
	@mkdir -p var
	@$(BIN)/python -m tests.torture --full --resume var/torture-full.jsonl $(ARGS)

bench: $(STAMP) ## Đo tốc độ, kết quả JSON / measure, in JSON
	@$(BIN)/python -m tests.bench $(ARGS)

bench-peak: $(STAMP) ## Nhịp cao nhất mà tồn đọng không tăng / the highest rate that leaves no backlog (ARGS="--seconds 60")
	@$(BIN)/python -m tests.bench.peak $(ARGS)

up: ## Chạy cả bộ bằng docker compose / the whole set with docker compose (ARGS="--scale worker=3")
	docker compose up --detach --build $(ARGS)

down: ## Dừng cả bộ, giữ dữ liệu / stop the set, keep its data
	docker compose down $(ARGS)

logs: ## Xem nhật ký các tiến trình của trục / follow the workers' logs
	docker compose logs --follow --tail 100 worker $(ARGS)

lock: ## Khóa lại phiên bản thư viện / write requirements.lock anew (needs uv)
	@command -v uv >/dev/null || { echo 'make lock cần uv / needs uv: https://docs.astral.sh/uv/'; exit 1; }
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-build --custom-compile-command 'make lock' \
		--quiet --upgrade --output-file requirements.lock

clean: ## Xóa những gì đã tạo ra / remove what was made (.venv, caches, var)
	rm -rf $(VENV) build dist var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without PYTHON, the newest that runs (a shim on the PATH may not), is new enough and can make a venv.
$(STAMP): requirements.lock pyproject.toml
	@python='$(PYTHON)'; \
	for v in 3.13 3.12 3.11 3; do \
		[ -n "$$python" ] && break; \
		python$$v -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=python$$v; \
	done; \
	python=$${python:-python3}; \
	"$$python" -c '' 2>/dev/null || { \
		echo "Không chạy được $$python / $$python does not run. Debian, Ubuntu: apt-get install python3 python3-venv"; exit 1; }; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Cần Python 3.11 trở lên / Python 3.11 or later is needed; $$python is $$("$$python" --version)"; \
		echo 'Chỉ ra bản khác / name another: make PYTHON=/path/to/python3.12 …'; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'Python thiếu venv / this Python lacks venv. Debian, Ubuntu: apt-get install python3-venv'; exit 1; }; \
	echo "Tạo môi trường $(VENV) / making $(VENV) with $$("$$python" --version) …"; \
	$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| "$$python" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
		--require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-deps --no-build-isolation -e .
	@touch $@
