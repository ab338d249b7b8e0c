"""A trained model at work: on images in memory, on folders, on strips of large pictures."""
