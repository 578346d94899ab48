"""Whether Spark is there, which its tests need."""

import importlib.util
import os
import shutil

import pytest


def missing() -> str:
    """What Spark lacks here; empty if it lacks nothing."""
    if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
        return "no Java: put a JDK 17 on PATH"
    for module in ("pyspark", "dbt.adapters.spark"):
        if importlib.util.find_spec(module) is None:
            return f"no {module}: pip install '.[spark]'"
    return ""


needs_spark = pytest.mark.skipif(bool(missing()), reason=f"Spark is not tested here; {missing()}")
