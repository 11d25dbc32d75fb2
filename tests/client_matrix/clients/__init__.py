"""A client a file, a function a cell; a cell that is not played is not there."""
