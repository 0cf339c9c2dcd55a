"""Telling a person that a job has ended: on the desktop, by a webhook, or through Apprise.

A notice that cannot be delivered is logged and changes nothing about the job.
"""

import logging
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from photosync.config import JobSpec

TIMEOUT = 10.0
_log = logging.getLogger("photosync")


def tell(job: JobSpec, title: str, text: str, record: Mapping[str, Any]) -> None:
    """Tells it wherever the job asks for.

    Args:
        job: as configured.
        title, text: for people.
        record: for the webhook: JSON-able.
    """
    if job.notify:
        _try("the desktop", lambda: _desktop(title, text))
    if job.webhook:
        _try("the webhook", lambda: _post(job.webhook, {"title": title, "text": text, **record}))
    if job.apprise:
        _try("Apprise", lambda: _apprise(Path(job.apprise).expanduser(), title, text))


def _try(whom: str, run: Any) -> None:
    try:
        run()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong there, the job is done
        # Without the error's own text: it may hold the address, which may be a secret.
        _log.warning("%s could not be told that the job has ended (%s)", whom, type(error).__name__)


def _desktop(title: str, text: str) -> None:
    program = shutil.which("notify-send")
    if program is not None:
        command = [program, "--app-name=photosync", "--", title, text]
        subprocess.run(command, check=True, timeout=TIMEOUT, capture_output=True)


def _post(url: str, record: Mapping[str, Any]) -> None:
    import requests

    requests.post(url, json=record, timeout=TIMEOUT, allow_redirects=False).raise_for_status()


def _apprise(file: Path, title: str, text: str) -> None:
    import apprise

    config = apprise.AppriseConfig()
    config.add(str(file))
    sender = apprise.Apprise()
    sender.add(config)
    if not sender.notify(title=title, body=text):
        raise RuntimeError("not delivered")
