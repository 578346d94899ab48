"""`warehouse init`: from the files of a log to a dbt project of one's own, which uses this warehouse as a dbt package.

files.py finds the files and says what they are; columns.py samples them; roles.py guesses which column is what, and
asking.py asks what can't be guessed; scope.py counts scenes and finds the split days; adapter.py writes the SQL;
project.py writes the folder.
"""
