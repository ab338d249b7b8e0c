"""What is learned: distributions, alignment, networks and the model file."""
