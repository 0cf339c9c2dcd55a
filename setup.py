"""The part in C; everything else is told in pyproject.toml, whose table for it is still experimental."""

from setuptools import Extension, setup

setup(
    # Optional: where there is no compiler, or no header of Python's, photosync does without.
    ext_modules=[
        Extension("photosync.backends._folder", ["backends/_folder.c"], optional=True, py_limited_api=True)
    ],
    # Built once for this and all later versions of Python, as the source says, too.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
