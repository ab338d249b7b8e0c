"""What a picture's file says besides its pixels: read, corrected, written into other formats."""
