"""Numbers and images in, pictures out."""
