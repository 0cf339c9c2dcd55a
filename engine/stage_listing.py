"""What a source shows: listed once however many destinations ask, and kept for a run that must do without."""

import errno
import json
import os

from photosync.engine.capabilities import Readable
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import Permanent, classify
from photosync.engine.journal import Journal
from photosync.engine.workers import Workers


class StageListing:
    """The folders of a source.

    Args:
        store: the source; None: it is not there, and what the journal kept of it is shown.
        source_id: what the journal calls it.
        journal: the stage's own.
        workers: scope of the run.
    """

    def __init__(self, store: Readable | None, source_id: str, journal: Journal, workers: Workers) -> None:
        self._store, self._source_id, self._journal = store, source_id, journal
        self._monitor = workers.monitor()
        self._folders: dict[str, list[Entry]] = {}
        self._failed: dict[str, str] = {}
        self._busy: set[str] = set()
        self._kept = store is None
        if store is None:
            self._remember()

    def folder(self, path: str) -> list[Entry]:
        """Children of a folder.

        Raises:
            Exception: as the source's own ``list_folder``.
        """
        with self._monitor:
            while path in self._busy:
                self._monitor.wait()
            if path in self._folders:
                return self._folders[path]
            if self._store is None:
                if path in self._failed:
                    raise Permanent(self._failed[path])
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self._busy.add(path)
        try:
            children = self._store.list_folder(path)
            with self._monitor:
                self._folders[path] = children
                self._failed.pop(path, None)
        except Exception as error:
            with self._monitor:
                self._failed[path] = str(classify(error, f"listing {path or '/'}"))
            raise
        finally:
            with self._monitor:
                self._busy.discard(path)
                self._monitor.notify_all()
        return children

    def keep(self) -> None:
        """Writes down what was seen, once."""
        with self._monitor:
            if self._kept:
                return
            self._kept = True
            files = [each for folder in self._folders.values() for each in folder if each.kind is Kind.FILE]
            self._journal.set_fact("unlisted", json.dumps(self._failed))
        self._journal.set_listed(self._source_id, files, (), "kept", full=True)

    def _remember(self) -> None:
        self._folders[""] = []
        for entry in self._journal.listed(self._source_id):
            self._children(entry.path.rpartition("/")[0]).append(entry)
        self._failed = json.loads(self._journal.fact("unlisted") or "{}")
        for path in self._failed:
            if path:
                self._children(path)
                del self._folders[path]

    def _children(self, folder: str) -> list[Entry]:
        if folder not in self._folders:
            self._folders[folder] = []
            self._children(folder.rpartition("/")[0]).append(Entry(folder, kind=Kind.FOLDER))
        return self._folders[folder]
