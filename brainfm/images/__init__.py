"""Pictures: what was seen and what is reconstructed, always (batch, 3, height, width), red, green and blue from 0 to 1."""
