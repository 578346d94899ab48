"""Raw files to SQL that reads them: which files, which columns, and how each value becomes text.

scan.py is what the macros call; csv_files.py and parquet_files.py look into files; text.py turns typed columns to text.
"""
