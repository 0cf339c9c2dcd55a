"""One file a backend, each an fsspec filesystem that declares what it can do."""
