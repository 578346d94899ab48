"""Where tests write, and which test files take long: they start first, so no worker waits for another, and a first
look leaves them out.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = Path(__file__).parent
MEMORY = Path("/dev/shm")
# Those that take more than about 20 seconds on one core, the longest first. One that builds the warehouse isn't named
# (test_latest.py), so that a first look has a build in it.
SLOW = (
    "warehouse/test_spark_parity.py",
    "warehouse/test_refresh.py",
    "warehouse/test_spark_cluster.py",
    "system/test_own_project.py",
    "warehouse/test_mutants.py",
    "system/test_demo.py",
    "system/test_docs.py",
    "system/test_package.py",
    "warehouse/test_any_feature.py",
    "warehouse/simulate/test_truth.py",
    "warehouse/simulate/test_log.py",
    "warehouse/simulate/test_folder.py",
    "embeddings/test_retrieval.py",
    "embeddings/test_spark.py",
    "embeddings/test_encoder.py",
    "warehouse/test_point_in_time.py",
    "warehouse/test_delta.py",
    "system/test_no_signal.py",
    "trainer/ladder/test_running.py",
    "trainer/training/test_determinism.py",
    "trainer/training/test_checkpoint.py",
    "trainer/serving/test_spark.py",
    "trainer/test_object_stores.py",
    "trainer/serving/online/test_replay.py",
    "trainer/serving/service/test_process.py",
    "trainer/serving/service/test_app.py",
    "trainer/serving/service/test_failing_stores.py",
    "trainer/serving/service/test_schema.py",
    "trainer/serving/service/test_known_texts.py",
    "trainer/serving/service/test_served.py",
    "trainer/serving/service/test_models.py",
    "trainer/serving/test_onnx.py",
    "trainer/test_notebook.py",
    "warehouse/test_hostile_files.py",
    "warehouse/test_split.py",
    "warehouse/test_places.py",
    "warehouse/test_staging.py",
    "warehouse/test_monitoring.py",
    "warehouse/test_bad_input.py",
    "trainer/run/test_degenerate.py",
    "trainer/report/test_page.py",
    "trainer/ladder/test_table.py",
    "trainer/cli/test_cli.py",
)


def pytest_configure() -> None:
    """Put pytest's temporary folders in memory where 6 GB of it are free; PYTEST_DEBUG_TEMPROOT names another place.

    What is built or fitted is flushed to disk file by file, some ten milliseconds each: half of a small test's time.
    """
    free = 6e9
    if MEMORY.is_dir() and min(psutil.disk_usage(str(MEMORY)).free, psutil.virtual_memory().available) > free:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session")
def s3_server() -> Any:
    """An S3 server on loopback, one per process: moto keeps its buckets and users for the whole of it."""
    from tests.s3 import start

    yield from start()


@pytest.fixture(scope="session")
def spark_session(s3_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Spark session with two cores, one per process. Its workers have the environment that it was started in."""
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("no java on PATH")
    from storage.spark import a_session
    from tests.s3 import environment

    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            environment(s3_server, patch)
            patch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path_factory.mktemp("workers")))
            patch.setenv("SPARK_MASTER", "local[2]")
            found = stack.enter_context(a_session("tests"))
        assert found.sparkContext.master == "local[2]"
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files in front and mark their tests `slow`. Raises: UsageError if a file of the list is gone."""
    gone = [name for name in SLOW if not (HERE / name).exists()]
    if gone:
        raise pytest.UsageError(f"SLOW in tests/conftest.py names files that aren't there: {', '.join(gone)}")
    place = {HERE / name: number for number, name in enumerate(SLOW)}
    items.sort(key=lambda item: place.get(item.path, len(SLOW)))
    for item in items:
        if item.path in place:
            item.add_marker(pytest.mark.slow)
