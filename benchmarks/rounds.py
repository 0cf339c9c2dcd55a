"""One go of one program, the rows that gather them, and the goals that rows are held to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.measure import Cost, measure, settle

SENT = ("md5", "sha256", "crc", "signed", "unsigned")
"""What the discarding endpoint tells of uploads: their checksums, and whether the body was signed."""


@dataclass(frozen=True, slots=True)
class Go:
    """What one program does in one round.

    Attributes:
        peer: name of its row.
        step: "first run", "no change" …
        checks: which checksums it computes and how it proves what arrived.
        commands: run one after the other; together they are one go.
        folder: where they run.
        environment: for them.
        problem: what is wrong with what they left behind or say themselves, or None.
        counts: requests so far, by operation, as the service saw them.
        asked: requests as the program itself reports them, where the place does not count.
        read: bytes so far, as the source counted them.
        stages: its output tells of several steps; see `stages_of`.
        durable: how long a ``sync`` takes afterwards is of interest.
    """

    peer: str
    step: str
    checks: str
    commands: Sequence[Sequence[str]]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    problem: Callable[[Cost], str | None] = lambda cost: cost.error
    counts: Callable[[], Mapping[str, int]] = field(default=dict)
    asked: Callable[[Cost], Mapping[str, int]] = field(default=lambda _cost: {})
    read: Callable[[], int] | None = None
    stages: Callable[[Cost], Mapping[str, Cost]] | None = None
    durable: bool = False


@dataclass(slots=True)
class Row:
    """One program at one step: what each round gave.

    Attributes:
        workload, step, peer, checks: which it is.
        wall, cpu: seconds of each round.
        durable: seconds until it was all on the disk: the run and a sync(2) after it (local places).
        peak: bytes of memory.
        read: bytes; see `measure.Cost`, or as the source counted them.
        requests: of the last round, by operation.
        sent: of the last round: uploads that came with a checksum or signature, by its name.
        wrong: why the row is void, or None.
    """

    workload: str
    step: str
    peer: str
    checks: str
    wall: list[float] = field(default_factory=list)
    durable: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    wrong: str | None = None

    def add(self, cost: Cost, problem: str | None) -> None:
        self.wall.append(cost.wall)
        self.cpu.append(cost.cpu)
        self.peak.append(cost.peak)
        if cost.read is not None:
            self.read.append(cost.read)
        self.wrong = problem or self.wrong


def run(go: Go, workload: str, rows: dict[tuple[str, str, str], Row]) -> None:
    """Lets a program have its go, and adds what it cost to its row, or to those of its stages."""

    def row_of(step: str) -> Row:
        return rows.setdefault((workload, step, go.peer), Row(workload, step, go.peer, go.checks))

    settle()
    before, read = go.counts(), go.read() if go.read else 0
    cost: Cost | None = None
    for command in go.commands:
        one = measure(command, go.environment, go.folder)
        cost = one if cost is None else cost + one
    assert cost is not None
    durable = settle() if go.durable else None
    after = go.counts()
    counted = {name: after[name] - before.get(name, 0) for name in after}
    if go.read:
        cost = Cost(cost.wall, cost.cpu, cost.peak, go.read() - read, cost.output, cost.error)
    problem = go.problem(cost)
    if go.stages and not problem:
        for step, stage in go.stages(cost).items():
            row_of(step).add(stage, None)
        return
    row = row_of(go.step)
    row.add(cost, problem)
    if durable is not None:
        row.durable.append(cost.wall + durable)
    row.sent = {name: counted[name] for name in SENT if counted.get(name)}
    others = {name: count for name, count in counted.items() if count and name not in _NO_REQUESTS}
    row.requests = others or ({} if problem else dict(go.asked(cost)))


_NO_REQUESTS = {*SENT, "bytes", "cpu_ms"}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row is held to.

    Attributes:
        text: in words.
        step: of both rows.
        limit: see ``kind``.
        against: rows of peers, of which the one with the lowest median counts; none for an absolute limit.
        kind: "ratio": the peer's wall time is at least ``limit`` times that of photosync; "times": that of
            photosync is at most ``limit`` times the peer's; "seconds" and "MB": photosync's median of wall
            time or memory is at most that.
        own: row of photosync's.
        alone: row of a program that does nothing but the work (`benchmarks.bare`), or "".
    """

    text: str
    step: str
    limit: float
    against: tuple[str, ...] = ()
    kind: str = "ratio"
    own: str = "photosync"
    alone: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a goal stands.

    Attributes:
        goal, workload: which.
        values: of each round, in the goal's terms; median, least and most are what is told.
        cpu: the same of processor time, which other work on the machine disturbs less.
        peer: which one it was compared with, "" for none.
        met: None if it cannot be told, for the reason ``why``.
        why: as said.
        alone: what the work alone would reach, in the goal's terms.
    """

    goal: Goal
    workload: str
    values: tuple[float, ...]
    peer: str
    met: bool | None
    why: str = ""
    cpu: tuple[float, ...] = ()
    alone: tuple[float, ...] = ()

    @property
    def value(self) -> float | None:
        return median(self.values) if self.values else None


def judge(goal: Goal, workload: str, rows: Mapping[tuple[str, str, str], Row]) -> Verdict:
    """Holds a workload's rows to a goal."""
    own = rows.get((workload, goal.step, goal.own))
    if own is None or not own.wall:
        return Verdict(goal, workload, (), "", None, "not run")
    if own.wrong:
        return Verdict(goal, workload, (), "", None, f"void: {own.wrong}")
    if goal.kind in ("seconds", "MB"):
        values = tuple(own.wall) if goal.kind == "seconds" else tuple(peak / 1e6 for peak in own.peak)
        cpu = tuple(own.cpu) if goal.kind == "seconds" else ()
        return Verdict(goal, workload, values, "", median(values) <= goal.limit, cpu=cpu)
    there = [rows.get((workload, goal.step, name)) for name in goal.against]
    sound = [row for row in there if row is not None and row.wall and not row.wrong]
    if not sound:
        return Verdict(goal, workload, (), "", None, f"nothing to compare with: {', '.join(goal.against)}")
    best = min(sound, key=lambda row: median(row.wall))
    if goal.kind == "ratio":
        values, cpu = _over(best.wall, own.wall), _over(best.cpu, own.cpu)
        bare = rows.get((workload, goal.step, goal.alone))
        alone = _over(best.wall, bare.wall) if bare is not None and not bare.wrong else ()
        return Verdict(goal, workload, values, best.peer, median(values) >= goal.limit, cpu=cpu, alone=alone)
    values, cpu = _over(own.wall, best.wall), _over(own.cpu, best.cpu)
    return Verdict(goal, workload, values, best.peer, median(values) <= goal.limit, cpu=cpu)


def _over(some: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Round by round, as far as both took part; a time that is too short to be measured gives nothing."""
    return tuple(one / other for one, other in zip(some, others, strict=False) if other)
