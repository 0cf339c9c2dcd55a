"""The sync engine: a pure planner, threads at one seam, no SDK, no backend, no terminal."""
