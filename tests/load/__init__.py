"""Large libraries, large files, and long use; by command only."""
