"""Jobs: one file each, readable top to bottom; every verb of the command line calls one of them."""
