"""Languages that people describe their lines in, each translated to a layout."""
