"""What each command of tests/forkserver.py has imported before it is asked for; each returns its entry point."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Spark for small logs that nobody keeps: a metastore in memory, few file-system rounds, no second compiler of bytecode.
# Without that compiler the JVM keeps 48 MB for compiled code: these tests fill it, and then it is swept over and over.
SPARK = {
    "SPARK_CONF_DIR": str(ROOT / "tests/fixtures/spark"),
    "SPARK_METASTORE": "jdbc:derby:memory:metastore;create=true",
    "SPARK_SHUFFLE_PARTITIONS": "2",
    "SPARK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m",
}


def fetch() -> Callable[[], object]:
    """The fetch command, which knows one more log: `tiny`, in the wheel that the folder's tiny.json describes."""
    fetching = import_module("warehouse.fetch")

    def call() -> object:
        fetching.LOGS["tiny"] = fetching.WheelLog(**json.loads(Path("tiny.json").read_text()))
        return fetching.app()

    return call


def simulate() -> Callable[[], object]:
    return import_module("warehouse.simulate.__main__").app


def remembered(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of Jinja's environment that reads each text once. Other vars make dbt parse all of a project again, but
    the texts are the same, and the server has read them: a fifth of a small build.
    """
    kept: dict[tuple, Any] = {}

    def call(self: Any, source: Any, *arguments: Any) -> Any:
        key = (type(self), *sorted(self.extensions), source, *arguments)
        if not isinstance(source, str):
            return method(self, source, *arguments)
        if key not in kept:
            kept[key] = method(self, source, *arguments)
        return kept[key]

    return call


def dbt() -> Callable[[], object]:
    """dbt, and the warehouse command that runs it, after a parse: it imports most of its code on first use."""
    for module in ("dbt.adapters.duckdb", "dbt.task.build", "numpy", "pyarrow.parquet", "warehouse.prove.proof"):
        import_module(module)
    environment = import_module("jinja2").Environment
    for name in ("parse", "compile"):
        setattr(environment, name, remembered(getattr(environment, name)))
    main = import_module("dbt.cli.main")
    with tempfile.TemporaryDirectory() as folder:
        places = {"project-dir": ROOT, "profiles-dir": ROOT, "target-path": folder, "log-path": folder}
        options = [str(word) for name, place in places.items() for word in (f"--{name}", place)]
        for _ in range(2):  # the second time it reads what the first has written, as its children will
            # The static parser starts threads, which no fork outlives.
            parsed = main.dbtRunner().invoke(["--quiet", "parse", "--no-static-parser", *options])
            assert parsed.success
    for macro in parsed.result.macros.values():  # compiled once here; each child would compile those that it calls
        import_module("dbt_common.clients.jinja").template_cache.get_node_template(macro)
    warehouse = import_module("warehouse.cli").app
    return lambda: warehouse() if sys.argv[0] == "warehouse" else main.cli()


def spark() -> Callable[[], object]:
    """dbt on Spark, in this very process: one session serves every build, for a JVM can't be forked."""
    main, pyspark, yaml = (import_module(name) for name in ("dbt.cli.main", "pyspark", "yaml"))
    owners: dict[str, Path] = {}  # of each schema: the folder of the project that built it

    def call() -> object:
        os.environ.update(SPARK)
        here, schema = Path.cwd(), yaml.safe_load(sys.argv[sys.argv.index("--vars") + 1])["dataset"]
        if pyspark.SparkContext._active_spark_context and owners.get(schema) != here:
            # The session keeps the folder that its first project has its tables in.
            session = pyspark.sql.SparkSession.builder.getOrCreate()
            session.sql(f"drop schema if exists {schema} cascade")
            session.sql(f"create schema {schema} location '{here}/data/spark/{schema}/warehouse/{schema}.db'")
        owners[schema] = here
        return main.cli()

    return call


def embeddings() -> Callable[[], object]:
    for module in ("transformers.models.bert.modeling_bert", "embeddings.build", "embeddings.encoder"):
        import_module(module)
    return import_module("embeddings.cli").app


def trainer() -> Callable[[], object]:
    """The trainer with what it imports only for a fit, and the script of a report, which takes two seconds to make."""
    # An optimizer imports _dynamo, which takes longer than a small fit.
    for module in (
        "torch._dynamo",
        "scipy.stats",
        "lightgbm",
        "trainer.ladder.running",
        "trainer.run.directory",
        "trainer.serving.online.replay",
    ):
        import_module(module)
    charts = import_module("trainer.report.charts")
    script = in_a_child(charts.bundle)
    charts.bundle = lambda: script
    main, several = import_module("trainer.cli").main, import_module("tests.trainer.training.processes").main

    def call() -> object:
        if sys.argv[0] == "processes":
            return several()
        if sys.argv[0] == "dying_trainer":
            return import_module("tests.trainer.serving.online.dying").main()
        if sys.argv[0] == "eager_trainer":  # with a checkpoint per step: a fit of a test's size ends before one is due
            import_module("trainer.run.directory").fit_run.__kwdefaults__["checkpoint_seconds"] = 0.0
        return main()

    return call


def in_a_child(make: Callable[[], str]) -> str:
    """What `make` returns, made in a child: the threads that it starts (a JavaScript engine's) outlive no fork."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        with os.fdopen(writer, "w") as pipe:
            pipe.write(make())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        made = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return made
