"""`warehouse init`: from the files of a log to a dbt project of one's own, which uses this warehouse as a dbt package.

files.py finds the files and says what they are; columns.py samples them; roles.py chooses which column is what, with
times.py, label.py and context.py, and asking.py asks what can't be told; scope.py counts scenes and finds the split
days; adapter.py writes the SQL; project.py writes the folder.
"""
