"""A phone and the people who use it between two runs."""

import random

from tests.sim.store import Thing, World

KINDS_OF_CHANGE = ("new", "edit", "same size", "rename", "delete", "touch", "reuse", "variant", "silent")
VARIANTS = (
    "img_{}.JPG",
    "IMG_{}\u00e9.jpg",
    "IMG_{}e\u0301.jpg",
    "IMG_{}\u00df.jpg",
    "IMG_{}SS.jpg",
    "Img_{}.jpg.",
)


class Phone:
    """Attributes:
    world: what is on it.
    ever: all bytes that any of its files ever had.
    silent: files whose bytes were changed behind their size and time: only ``--checksum`` finds them, and
        free-up must.
    """

    def __init__(self, seed: int, personality: str = "phone") -> None:
        self.seed = seed
        self.ever: set[bytes] = set()
        self.world = World(personality, watch=self._show)
        self.silent: set[str] = set()
        self._photos = 0
        dice = random.Random(f"phone {seed}")
        for _ in range(dice.choice([1, 1, 2, 3, 5, 8, 12])):
            self.take_photo(dice)
        if dice.random() < 0.3:
            self.change("variant", dice)

    def _show(self, path: str) -> None:
        self.ever.add(self.world.things[path].data)
        self.silent.discard(path)

    def take_photo(self, dice: random.Random, number: int | None = None) -> None:
        """A photo of one or several files, some of them empty."""
        self._photos += 1
        number = self._photos if number is None else number
        folder = dice.choice(["DCIM/Camera", "DCIM/100APPLE", "Pictures"])
        size = dice.choice([0, 1, 30, 63, 64, 65, 200, 500])
        taken = dice.randrange(10**18)
        for extension in dice.choice([("jpg",), ("HEIC", "MOV"), ("JPG", "DNG", "AAE")]):
            self.world.set(f"{folder}/IMG_{number:04d}.{extension}", self._bytes(extension, size), taken)

    def _bytes(self, kind: str, size: int) -> bytes:
        return f"{self.seed}.{self._photos}.{kind}".encode()[:size].ljust(size, b"x")

    def change(self, what: str, dice: random.Random) -> None:
        """One thing that happens to a phone."""
        world = self.world
        world.remember()
        path = dice.choice(sorted(world.things))
        thing = world.things[path]
        if what == "new":
            self.take_photo(dice)
        elif what == "edit":
            world.set(path, thing.data + b"edited", (thing.mtime_ns or 0) + 10**9)
        elif what == "same size" and thing.data:
            world.set(path, bytes([thing.data[0] ^ 64]) + thing.data[1:], (thing.mtime_ns or 0) + 10**9)
        elif what == "silent" and thing.data:
            world.set(path, bytes([thing.data[0] ^ 32]) + thing.data[1:], thing.mtime_ns)
            self.silent.add(path)
        elif what == "touch":
            world.set(path, thing.data, (thing.mtime_ns or 0) + 10**10)
        elif what == "rename":
            stem = path.rpartition(".")[0]
            for each in [each for each in world.things if each.rpartition(".")[0] == stem]:
                half = world.things[each]
                to = each.replace("IMG", "Renamed")
                if to not in world.things:
                    world.drop(each)
                    world.set(to, half.data, half.mtime_ns)
        elif what == "delete" and len(world.things) > 1:
            world.drop(path)
        elif what == "reuse":
            gone = sorted(set(world.shown) - set(world.things))
            if gone:
                self._photos += 1
                world.set(
                    dice.choice(gone), self._bytes("again", dice.choice([1, 64, 200])), dice.randrange(10**18)
                )
        elif what == "variant":
            for form in dice.sample(VARIANTS, 2):
                self._photos += 1
                name = form.format(f"{dice.randint(1, 2):04d}")
                world.set(f"DCIM/Camera/{name}", self._bytes("variant", 40), dice.randrange(10**18))

    def honest(self) -> dict[str, Thing]:
        """Files that look different from whatever was there before."""
        return {path: thing for path, thing in self.world.things.items() if path not in self.silent}

    def restored(self, dice: random.Random) -> None:
        """A new phone got everything back, some of it with new times."""
        silent = set(self.silent)
        for path, thing in list(self.world.things.items()):
            later = dice.choice([0, 4 * 10**16])
            self.world.set(path, thing.data, (thing.mtime_ns or 0) + later)
            if not later and path in silent:
                self.silent.add(path)
