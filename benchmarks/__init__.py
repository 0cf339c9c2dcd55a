"""photosync beside its peers: the same trees, the same places, the same run. See docs/performance.md."""
