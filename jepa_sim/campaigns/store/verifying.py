"""Find damage in a run, and repair what can be repaired without computing."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from hashlib import sha256

import xarray as xr

from jepa_sim.campaigns.store.contents import GROUP, describe, inventory, open_array
from jepa_sim.campaigns.store.disk import aside, flush_tree, write_json
from jepa_sim.campaigns.store.errors import Damaged, damaged, explained
from jepa_sim.campaigns.store.store import Block, Store
from jepa_sim.campaigns.store.template import Variables, make_arrays


@dataclasses.dataclass(frozen=True)
class Found:
    """What `verify` has found.

    arrays: the damaged ones, by name, with what is wrong.  blocks: the damaged ones.  unchecked:
    how many blocks are of an older version, which kept no checksums.
    """

    arrays: dict[str, Damaged]
    blocks: list[Block]
    unchecked: int


def verify(store: Store) -> Found:
    """Read everything, and compare it with the manifest, the configuration and the marks.

    Damaged blocks lose their marks and files, so that the next run writes them again. Where a whole
    array is damaged, blocks are not checked. The caller must hold the lock.
    """
    faults, bad, marks = inventory(store)[1], [], store.marks()
    whole = json.dumps(store.manifest.get("configuration")).encode()
    if store.manifest.get("configuration_sha256", "") not in ("", sha256(whole).hexdigest()):
        reason = "its configuration differs from its checksum"
        faults["manifest.json"] = damaged(store.path, "`manifest.json`", reason)
    unchecked = sum("sha256" not in mark for mark in marks.values())
    if GROUP in faults or faults.keys() & set(store.names):
        return Found(faults, [], unchecked)
    arrays = [open_array(store.path, name) for name in store.names]
    for block in marks:
        try:
            store.read(block)
        except Damaged:
            bad.append(block)
            for path in (store.mark_path(block), *(store.chunk(a, block) for a in arrays)):
                path.unlink(missing_ok=True)
    return Found(faults, bad, unchecked)


def mend(store: Store, variables: Callable[[], Variables], known: xr.Dataset) -> None:
    """Write damaged coordinates, constants and layouts of arrays again. Blocks stay as they are.

    variables, known: as for `create`; `variables` is called only where something is damaged.
    """
    if not inventory(store)[1]:
        return
    with store.lock(), explained(store.path):
        template, folder = aside(store.path), store.path / GROUP
        try:
            make_arrays(template, variables(), known, store.lane_axes, store.block_shape)
            for name in inventory(store)[1]:  # again, under the lock: another may have mended it
                if name == GROUP or name in store.names:
                    part = "" if name == GROUP else name
                    (folder / part).mkdir(exist_ok=True)
                    (template / part / "zarr.json").replace(folder / part / "zarr.json")
                else:
                    shutil.rmtree(folder / name, ignore_errors=True)
                    (template / name).rename(folder / name)
            flush_tree(folder)
            if "holds" in store.manifest:
                # λ and ρ made on another machine may differ from those before in the last bit
                holds = describe(store.path, store.names, store.lengths)
                write_json(store.path / "manifest.json", {**store.manifest, "holds": holds})
        finally:
            shutil.rmtree(template, ignore_errors=True)
