"""The validator of the E-ARK foundation: what it says of a package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.independent.seda.schemas import CACHE

_VALIDATOR = CACHE / "eark-1.1.3"


def judge(package):
    """Give the report of the validator on a directory, as JSON values."""
    if not _VALIDATOR.is_dir():
        pytest.skip("the validator of E-ARK is not there: run infra/bootstrap.sh test")
    command = [sys.executable, str(Path(__file__).parent / "offline.py"), str(package)]
    known = os.environ | {"PYTHONPATH": str(_VALIDATOR)}
    done = subprocess.run(command, env=known, capture_output=True, text=True, check=True, timeout=600)
    return json.loads(done.stdout.split("\n", 1)[1])


def broken(report):
    """Give the rules that a package breaks, of the structure and of METS, warnings with them."""
    told = [*report["structure"]["messages"]]
    for results in report["metadata"].values():
        told += results["messages"]
    return {each["rule_id"] for each in told if each["severity"] != "Info"}
