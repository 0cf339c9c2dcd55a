"""Jobs in the configuration, when they are due, and the units that run them."""

import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest

from photosync import config
from photosync.config import Config, ConfigError, JobSpec
from photosync.service import install, units
from photosync.watch import AGAIN, Plugged, Watch

JOB = '[jobs.phone]\nsource = "phone:"\ndestinations = ["/mnt/usb"]\n'
PIXEL, IPHONE = Plugged("pixel", "usb:1"), Plugged("iphone", "usb:2")


def parse(text: str) -> Config:
    return config.parse(text, "config.toml")


def test_a_job() -> None:
    found = parse(JOB + 'schedule = "daily 03:00"\nlayout = "{taken:%Y}/{name}"\nmin_copies = 1\n').jobs
    assert found["phone"].schedule == "daily 03:00"
    assert found["phone"].layout == "{taken:%Y}/{name}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (JOB + 'schedule = "sometimes"\n', r"line 4, jobs.phone.schedule: .*daily 03:00"),
        (JOB + "min_copies = 2\n", r"line 4, jobs.phone.min_copies: is more than there are"),
        (JOB + "on_plugin = true\n", r"line 4, jobs.phone.on_plugin: .*'on_plug_in'"),
        (JOB + 'webhook = "https://me:secret@host/"\n', r"line 4, jobs.phone.webhook: a secret"),
        ('[jobs.phone]\nsource = "phone:"\n', r"jobs.phone: add destinations"),
        ('[jobs.phone]\nsource = "phone:"\ndestinations = []\n', r"line 3, jobs.phone.destinations"),
        ('[jobs."../x"]\nsource = "a"\ndestinations = ["b"]\n', r"is no name for a job"),
        ("[jobs]\nphone = 1\n", r"is not a table"),
    ],
)
def test_what_is_no_job(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse(text)


def test_a_job_survives_an_edit_of_the_file(home: Path) -> None:
    path = home / "config.toml"
    path.write_text(f"# mine\n{JOB}")
    config.update(path, lambda old: Config(remotes={"disk": config.Local(root="/x")}, jobs=old.jobs))
    assert parse(path.read_text()).jobs == parse(JOB).jobs
    assert path.read_text().startswith("# mine")


def test_plugging_in() -> None:
    jobs = {
        "any": JobSpec(source="phone:", destinations=["/x"], on_plug_in=True),
        "pixel": JobSpec(source="phone@pixel:DCIM", destinations=["/x"], on_plug_in=True),
        "by hand": JobSpec(source="phone:", destinations=["/x"]),
        "folder": JobSpec(source="/photos", destinations=["/x"], on_plug_in=True),
    }
    state = Watch(jobs)
    assert state.due([], 0) == []
    assert state.due([IPHONE], 1) == ["any"]
    assert state.due([IPHONE], 2) == [], "once each time that it is plugged in"
    assert state.due([IPHONE, PIXEL], 3) == ["any", "pixel"]
    assert state.due([], 4) == []
    assert state.due([PIXEL], 5) == ["any", "pixel"]


def test_by_schedule(home: Path) -> None:
    job = JobSpec(source="/photos", destinations=["/x"], schedule="every 2h")
    state, now = Watch({"job": job}), 1_700_000_000.0
    assert state.due([], now) == []
    assert state.due([], now + 7100) == []
    assert state.due([], now + 7300) == ["job"]
    assert state.due([], now + 7400) == []
    (home / "state/jobs").mkdir(parents=True)
    (home / "state/jobs/job.last").write_text(str(now - 86400))
    missed = Watch({"job": job})
    assert missed.due([], now) == ["job"], "what was missed is made up for"
    assert missed.due([], now + AGAIN / 2) == []
    assert Watch({"job": job}, by_schedule=False).due([], now) == []


JOBS = {
    "nightly": JobSpec(source="phone:", destinations=["/x"], schedule="Mon,Thu 03:00"),
    "often": JobSpec(source="/a", destinations=["/x"], schedule="every 6h"),
    "plugged": JobSpec(source="phone:", destinations=["/x"], on_plug_in=True),
}


def test_systemd_accepts_the_units(home: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: install systemd")
    lines = install(JOBS, ["/bin/echo", "100% of $HOME", 'a "b"'], "linux")
    folder = home / ".config/systemd/user"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "photosync-nightly.service", "photosync-nightly.timer", "photosync-often.service",
        "photosync-often.timer", "photosync-watch.service",
    ]  # fmt: skip
    assert lines[-1].split()[-3:] == [
        "photosync-nightly.timer",
        "photosync-often.timer",
        "photosync-watch.service",
    ]
    env = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(home)}
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", *map(str, sorted(folder.iterdir()))],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "photosync" not in done.stderr, done.stderr


def test_a_line_of_a_unit_is_quoted() -> None:
    text = units(JOBS, ["/bin/echo", "100% of $HOME", 'a "b"'])["photosync-often.service"]
    assert 'ExecStart="/bin/echo" "100%% of $$HOME" "a \\"b\\"" "run" "often"' in text
    text = units(JOBS, ["/bin/echo", "a\nExecStart=/bin/false", "\\n"])["photosync-often.service"]
    assert 'ExecStart="/bin/echo" "a\\x0aExecStart=/bin/false" "\\\\n" "run" "often"' in text


def test_launchd(home: Path) -> None:
    lines = install(JOBS, ["/usr/bin/photosync"], "darwin")
    found = plistlib.loads((home / "Library/LaunchAgents/photosync.watch.plist").read_bytes())
    assert found["ProgramArguments"] == ["/usr/bin/photosync", "watch"]
    assert "launchctl bootstrap" in lines[-1]


def test_nothing_to_install(home: Path) -> None:
    assert "nothing was written" in install({"hand": JobSpec(source="a", destinations=["b"])}, [], "linux")[0]
    assert not (home / ".config").exists()
