"""Anonymous blocks with plain keyword arguments. No recipe knows them."""
