"""The machine room. Import a facade below (``cython_ext.core``), never this package."""
