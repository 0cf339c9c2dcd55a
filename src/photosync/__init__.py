"""photosync: every photo on a phone, whole and proven, wherever people choose."""
