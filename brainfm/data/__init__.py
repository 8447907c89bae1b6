"""The numpy wing: from files to prepared windows. Nothing here imports torch."""
