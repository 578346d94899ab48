"""dbt's adapter for Spark, and Python in dbt's process for macros: `type: sparkpython` in profiles.yml.

dbt-duckdb calls Python from SQL; a Spark session runs SQL alone. So a macro calls `adapter.python(name, ...)`. All else
is dbt-spark's: a macro or materialization that has no version for this adapter is found there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbt.adapters.base import AdapterPlugin
from dbt.adapters.base.meta import available
from dbt.adapters.spark import SparkAdapter, SparkConnectionManager, SparkCredentials


class SparkPythonCredentials(SparkCredentials):
    @property
    def type(self) -> str:
        return SparkPythonConnectionManager.TYPE


class SparkPythonConnectionManager(SparkConnectionManager):
    TYPE = "sparkpython"


class SparkPythonAdapter(SparkAdapter):
    ConnectionManager = SparkPythonConnectionManager

    @available
    def python(self, name: str, *arguments: Any) -> Any:
        """What the function `name` of warehouse/spark returns. Raises: DbtRuntimeError with what it said."""
        from warehouse import spark

        return spark.called(name, *arguments)


Plugin = AdapterPlugin(
    adapter=SparkPythonAdapter,  # type: ignore[arg-type]
    credentials=SparkPythonCredentials,
    include_path=str(Path(__file__).parent),
    dependencies=["spark"],
    project_name="dbt_sparkpython",
)
