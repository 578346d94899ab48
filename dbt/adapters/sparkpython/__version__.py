"""dbt asks each adapter for its version, and accepts numbers alone."""

from storage.installed import version as of_package

version = of_package() if of_package()[0].isdigit() else "0.0.0"
