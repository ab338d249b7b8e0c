"""The order of steps, resuming, selection of the best model, logs."""
