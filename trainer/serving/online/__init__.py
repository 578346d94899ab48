"""Features at request time, value for value those of the mart: state, formulas, and the replay that proves it."""
