"""What happens in one seed: a list of steps, each with its own dice, so that any of them can be left out."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

from photosync.engine.plan import Mode
from tests.sim.disk import KINDS
from tests.sim.phone import KINDS_OF_CHANGE
from tests.sim.store import Faults

CALM = (Faults(), Faults())
PLACES = (*KINDS, "objects", "feed", "s3", "dropbox", "drive")
MEDDLING = ("edit", "delete", "rename", "add")
SPECIAL = 13
"""Of so many lives, one of each kind is made for what chance alone seldom brings about."""
CROWDED, CUT_SHORT, MOVED, FREED = 12, 7, 9, 0
FOLDING = ("vfat", "exfat-fuse", "hfs", "hfs", "feed", "dropbox")


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    Attributes:
        what: "run", "together" (two machines at once), "free" (free-up), "phone", "remote", "cut" (the power
            fails), "lose" (a machine's state, and the phone was restored), "zone" (another time zone).
        seed: decides everything within.
        how: what happens on the phone or at the destination; "meet": two machines end together.
        faults: of the phone, and of every destination.
        crash_at: effect at which the process dies.
        unsynced: it dies before any name that it gave on a disk is synced.
        power: it dies because the power fails.
        place, machine: by number.
    """

    what: str
    seed: int
    how: str = ""
    faults: tuple[Faults, Faults] = CALM
    crash_at: int | None = None
    unsynced: bool = False
    power: bool = False
    place: int = 0
    machine: int = 0

    def __str__(self) -> str:
        told = [self.what, self.how] if self.how else [self.what]
        told += [f"place {self.place}", f"machine {self.machine}"]
        for name, faults in zip(("phone", "places"), self.faults, strict=True):
            told += [f"{name}: {f.name} {v:g}" for f in fields(faults) if (v := getattr(faults, f.name))]
        if self.crash_at is not None:
            told.append(f"{'power cut' if self.power else 'killed'} at effect {self.crash_at}")
        if self.unsynced:
            told.append("killed before names are synced")
        return ", ".join(told)


@dataclass(frozen=True)
class Life:
    """One seed's world and its steps."""

    seed: int
    places: tuple[str, ...]
    phone: str
    mode: Mode
    layout: str | None
    machines: int
    steps: tuple[Step, ...] = field(default=())

    def __str__(self) -> str:
        head = (
            f"seed {self.seed}: {self.phone} to {' and '.join(self.places)}, {self.mode}, "
            f"layout {self.layout or 'as on the phone'}, {self.machines} machine(s)"
        )
        return "\n".join([head, *(f"  {number}. {step}" for number, step in enumerate(self.steps, 1))])


def storm(dice: random.Random, phone: str = "phone") -> tuple[Faults, Faults]:
    """Faults of one run: most runs have a few kinds, some have none."""

    def some(chance: float) -> float:
        return chance if dice.random() < 0.4 else 0.0

    source = Faults(
        before=some(0.05), read_error=some(0.05), short_read=some(0.05), listing=some(0.2),
        unplug=some(0.03), change=some(0.2), after=some(0.1),
    )  # fmt: skip
    there = Faults(before=some(0.1), after=some(0.1), damage=some(0.1))
    if phone == "mtp":
        source = replace(source, stale=some(0.3), lie=some(0.1))
    return source, replace(there, stale=0.3 if dice.random() < 0.2 else 0.0)


def draw(seed: int) -> Life:
    """The life of a seed."""
    dice = random.Random(f"life {seed}")
    if seed % SPECIAL == CROWDED:
        return _crowded(seed, dice)
    if seed % SPECIAL == CUT_SHORT:
        return _cut_short(seed, dice)
    if seed % SPECIAL == MOVED:
        return _moved(seed, dice)
    if seed % SPECIAL == FREED:
        return _freed(seed, dice)
    places = [PLACES[seed % len(PLACES)]]
    if dice.random() < 0.3:
        places.append(dice.choice(PLACES))
    mode = Mode.SYNC if seed % 3 == 2 else Mode.COPY
    machines = 2 if mode is Mode.COPY and dice.random() < 0.4 else 1
    layout = "{taken:%Y}/{name}" if seed % 4 == 1 else None
    phone = dice.choice(["phone", "phone", "mtp"])
    life = Life(seed, tuple(places), phone, mode, layout, machines)
    steps = []
    for _ in range(dice.randint(1, 4)):
        steps.append(_running(dice, life))
        steps += [
            Step("phone", dice.randrange(2**32), dice.choice(KINDS_OF_CHANGE))
            for _ in range(dice.choice([0, 0, 1, 2, 3]))
        ]
        if dice.random() < 0.3:
            steps.append(
                Step(
                    "remote", dice.randrange(2**32), dice.choice(MEDDLING), place=dice.randrange(len(places))
                )
            )
        for what, chance in (("cut", 0.25), ("zone", 0.1), ("lose", 0.4 if layout else 0.04)):
            if dice.random() < chance:
                steps.append(Step(what, dice.randrange(2**32), machine=dice.randrange(machines)))
        if dice.random() < 0.4:
            steps.append(replace(_running(dice, life, 150), what="free"))
    return replace(life, steps=tuple(steps))


def _crowded(seed: int, dice: random.Random) -> Life:
    """Two machines that end at the same time, and each could read what the other could not."""
    life = Life(seed, (dice.choice(PLACES),), "phone", Mode.COPY, None, 2)
    steps = []
    for _ in range(6):
        faults = storm(dice) if dice.random() < 0.2 else (Faults(read_error=0.2), Faults())
        steps.append(Step("together", dice.randrange(2**32), "meet", faults))
        steps.append(Step("phone", dice.randrange(2**32), dice.choice(("new", "edit", "rename", "variant"))))
    return replace(life, steps=tuple(steps))


def _cut_short(seed: int, dice: random.Random) -> Life:
    """A disk, and runs that are killed before names are synced; the next one goes on, and the power fails."""
    life = Life(seed, (dice.choice(sorted(KINDS)),), "phone", Mode.COPY, None, 1)
    steps = []
    for _ in range(4):
        steps.append(Step("phone", dice.randrange(2**32), "new"))
        steps.append(Step("run", dice.randrange(2**32), unsynced=dice.random() < 0.7))
        steps.append(Step("run", dice.randrange(2**32)))
        steps.append(Step("cut", dice.randrange(2**32)))
    return replace(life, steps=tuple(steps))


def _moved(seed: int, dice: random.Random) -> Life:
    """A library that was laid out, and whose machine forgets it again and again; or names that differ
    little."""
    mode = dice.choice(list(Mode))
    if dice.random() < 0.75:
        life = Life(seed, (dice.choice(PLACES),), "phone", mode, "{taken:%Y}/{name}", 1)
        what, how = "lose", "new"
    else:
        life = Life(seed, (dice.choice(FOLDING),), "phone", mode, None, 1)
        what, how = "cut", "variant"
    steps = []
    for _ in range(3):
        steps.append(Step("phone", dice.randrange(2**32), how))
        faults = storm(dice) if what == "lose" and dice.random() < 0.3 else CALM
        steps.append(Step("run", dice.randrange(2**32), faults=faults))
        steps.append(Step(what, dice.randrange(2**32)))
    return replace(life, steps=tuple(steps))


def _freed(seed: int, dice: random.Random) -> Life:
    """A phone that is freed again and again, while photos and copies change."""
    life = Life(seed, tuple(dice.sample(PLACES, 2)), "phone", dice.choice(list(Mode)), None, 1)
    steps = []
    for _ in range(3):
        steps += [Step("phone", dice.randrange(2**32), "new") for _ in range(2)]
        steps += [Step("run", dice.randrange(2**32), place=place) for place in range(2)]
        steps.append(Step("phone", dice.randrange(2**32), dice.choice(("silent", "silent", "edit", "reuse"))))
        if dice.random() < 0.5:
            how = dice.choice(MEDDLING)
            steps.append(Step("remote", dice.randrange(2**32), how, place=dice.randrange(2)))
        steps.append(Step("free", dice.randrange(2**32)))
    return replace(life, steps=tuple(steps))


def _running(dice: random.Random, life: Life, longest: int = 400) -> Step:
    dies = dice.random() < 0.5
    return Step(
        "together" if life.machines > 1 and dice.random() < 0.4 else "run",
        dice.randrange(2**32),
        faults=storm(dice, life.phone) if dice.random() < 0.8 else CALM,
        crash_at=dice.randrange(5, dice.choice([longest, 3 * longest])) if dies else None,
        power=dies and dice.random() < 0.5,
        place=dice.randrange(len(life.places)),
        machine=dice.randrange(life.machines),
    )


def shrink(life: Life, fails: Callable[[Life], bool], tries: int = 300) -> Life:
    """A smaller life that still fails: fewer steps, fewer faults (delta debugging).

    Args:
        fails: whether a life still breaks a promise.
        tries: most calls of it.
    """
    left = tries

    def still(candidate: Life) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(candidate)

    size = max(1, len(life.steps) // 2)
    while size:
        at = 0
        while at < len(life.steps):
            smaller = replace(life, steps=life.steps[:at] + life.steps[at + size :])
            if still(smaller):
                life = smaller
            else:
                at += size
        size //= 2
    for number, step in enumerate(life.steps):
        for simpler in _simpler(step):
            candidate = replace(life, steps=(*life.steps[:number], simpler, *life.steps[number + 1 :]))
            if still(candidate):
                life, step = candidate, simpler
    return life


def _simpler(step: Step) -> list[Step]:
    found = []
    for side in (0, 1):
        for each in fields(step.faults[side]):
            if getattr(step.faults[side], each.name):
                calmer = replace(step.faults[side], **{each.name: 0.0})
                both = (calmer, step.faults[1]) if side == 0 else (step.faults[0], calmer)
                found.append(replace(step, faults=both))
    if step.crash_at is not None or step.unsynced:
        found.append(replace(step, crash_at=None, unsynced=False, power=False))
    return found
