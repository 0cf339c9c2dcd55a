"""Whether what is planned fits at the destination, looked at before anything is written there.

What is sure not to fit is not begun: a file that is larger than all the room there is, or than the file
system takes, would fill the disk first and keep out those that fit. Files that only together are too many
are copied until it is full: photos that fit are safer there than nowhere.
"""

from collections.abc import Callable
from dataclasses import replace

from photosync.engine.actions import Copy, Plan, Refuse
from photosync.engine.capabilities import Store, TellsRoom
from photosync.engine.entry import Entry
from photosync.engine.sizes import human_size


def fit(plan: Plan, store: Store, begun: Callable[[Entry], bool]) -> tuple[Plan, str | None]:
    """The plan without what is sure not to fit, and a warning if the rest may not fit either.

    Args:
        plan: what is to be done.
        store: the destination.
        begun: whether some of a file has been stored already, so that less than its size is needed.
    """
    copies = [action for action in plan.actions if isinstance(action, Copy)]
    if not copies:
        return plan, None
    room = store.room() if isinstance(store, TellsRoom) else None
    most = store.capabilities.largest
    refused: dict[int, Refuse] = {}
    for action in copies:
        size = action.source.size
        if most is not None and size > most:
            reason = (
                f"has {size:,} bytes, and the file system of the destination takes files of at most "
                f"{most:,}. Choose another disk, or one that is formatted as exFAT."
            )
        elif room is not None and size > room and not begun(action.source):
            reason = (
                f"needs {human_size(size)}, and {human_size(room)} are free at the destination. "
                "Free some space, then run again."
            )
        else:
            continue
        refused[id(action)] = Refuse(action.source, reason)
    left = [action.source for action in copies if id(action) not in refused]
    if refused:
        actions = [refused.get(id(action), action) for action in plan.actions]
        plan = replace(plan, actions=actions)
    needed = sum(entry.size for entry in left)
    if room is None or needed <= room or needed - sum(entry.size for entry in left if begun(entry)) <= room:
        return plan, None
    return plan, (
        f"{len(left)} files need {human_size(needed)}, and {human_size(room)} are free at the destination: "
        "they are copied until it is full. Free some space and run again: it goes on with the rest."
    )
