"""Fitting a stage: the loop, its order of rows, checkpoints, several processes, trees."""
