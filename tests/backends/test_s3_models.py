"""What botocore is told of services is what it would have read itself."""

import json
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader
from botocore.session import Session

from photosync.backends import s3_models


@pytest.mark.parametrize(
    ("service", "kind"),
    [("s3", "service-2"), ("s3", "endpoint-rule-set-1"), ("s3", "paginators-1"), ("sts", "service-2")],
)
def test_descriptions_are_those_that_botocore_reads(service: str, kind: str) -> None:
    session = Session()
    s3_models.install(session)
    loader, usual = session.get_component("data_loader"), create_loader()
    assert loader.load_service_model(service, kind) == usual.load_service_model(service, kind)
    assert loader.load_data_with_path("endpoints") == usual.load_data_with_path("endpoints")


def test_a_service_that_is_not_there_is_told() -> None:
    session = Session()
    s3_models.install(session)
    with pytest.raises(BotoCoreError):
        session.create_client("no-such-service", region_name="x")


def test_descriptions_of_the_users_own_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"partitions": [], "own": True}))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    session = Session()
    s3_models.install(session)
    assert session.get_component("data_loader").load_data("endpoints")["own"] is True
