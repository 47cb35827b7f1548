.PHONY: test
test:
	python3 -m venv .venv-uv 2>/dev/null; command -v uv >/dev/null || pip install -q uv
	uv run --frozen pytest -q tests/unit/test_fingerprint.py tests/unit/test_canonical.py
