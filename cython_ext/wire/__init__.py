"""Native layer; see cython_ext/README.md."""
