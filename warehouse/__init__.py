"""The SQL feature warehouse: a dbt project, and the Python that its raw files and file-system acts need."""
