"""Finished runs on new rows: scoring of Parquet files, ONNX."""
