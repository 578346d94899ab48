"""The training mart as dbt promises it: schema, reading, Parquet files, manifest."""
