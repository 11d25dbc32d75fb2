"""A client a file, a function a cell; a cell that a library has no way to fill is not there."""
