"""The mart's rows as arrays: read and checked, ragged lists, the column store."""
