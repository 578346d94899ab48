"""What every other folder may use: errors, progress, files, memory-mapped pages, the hash of the code."""
