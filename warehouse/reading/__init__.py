"""Raw files to SQL that reads them: which files, which columns, and how each value becomes text.

scan.py is what the macros call: request.py is what they ask for, columns.py finds the files and checks their columns,
selects.py writes the SQL. csv_files.py and parquet_files.py look into files; text.py turns typed columns to text.
"""
